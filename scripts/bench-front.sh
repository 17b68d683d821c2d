# The part of scripts/bench that puts nginx in front of the gateway; sourced by it, never run.
#
# One load of long polling at the port of an nginx with keep-alive upstream connections, plain and with TLS between
# nginx and the gateway, and then the same number of messages a second at the gateway's own port: a busier gateway
# finds more to do each time it wakes, so only at the same pace is the difference what nginx costs it. The figure is
# messages per CPU second of the gateway alone: nginx runs on the load's core and is not counted.
# shellcheck shell=bash disable=SC2034,SC2154 # the variables are those of scripts/bench

readonly bar_front=0.6
nginx=""
for candidate in "$(command -v nginx || true)" /usr/sbin/nginx "$root/build/deps/usr/sbin/nginx"; do
    [ -z "$nginx" ] && [ -x "$candidate" ] && nginx=$candidate
done
[ -n "$nginx" ] || die "nginx is not there; scripts/deps test brings it"

# start_nginx KEEPALIVE: idle upstream connections that it keeps.
start_nginx() {
    local tick
    mkdir -p "$folder/nginx"
    sed -e "s|@FOLDER@|$folder/nginx|; s|@KEEPALIVE@|$1|; s|@PLAIN_PORT@|$((port + 3))|" \
        -e "s|@TLS_PORT@|$((port + 4))|; s|@PLAIN_UPSTREAM@|127.0.0.1:$((port + 1))|" \
        -e "s|@TLS_UPSTREAM@|127.0.0.1:$((port + 2))|" "$root/tests/wire/nginx.conf" >"$folder/nginx.conf"
    (pinned 1 "$nginx" -e stderr -p "$folder/nginx" -c "$folder/nginx.conf") 2>"$folder/nginx.log" &
    server_pid[nginx]=$!
    for ((tick = 0; tick < 200; tick++)); do
        [ "$(http_status 127.0.0.1 $((port + 3)) /bench)" = 200 ] && return
        sleep 0.05
    done
    cat "$folder/nginx.log" >&2
    die "nginx did not become ready; its words are above"
}

# Key, server, idle upstream connections that nginx keeps (- is without nginx), and the run whose pace is kept.
# Each poll that waits has an upstream connection of its own: an nginx that keeps fewer than there are users closes
# the rest when their answers come, and what is then measured is the accepting of connections.
front_cases=(
    "kept nginx 256"
    "kept-pace gateway - kept.nginx"
    "kept nginx-tls 256"
    "kept-pace gateway-tls - kept.nginx-tls"
    "few nginx 32"
    "few-pace gateway - few.nginx"
    "few nginx-tls 32"
    "few-pace gateway-tls - few.nginx-tls"
    "direct gateway -"
    "direct gateway-tls -"
)

front_rounds() {
    local round row key server keepalive pace gateway_pid rate
    for ((round = 1; round <= rounds; round++)); do
        say "bench: round $round of $rounds: nginx in front, $seconds s each"
        start_gateway
        gateway_pid=${server_pids[gateway]%%,*}
        server_pids=([gateway]=$gateway_pid [gateway-tls]=$gateway_pid [nginx]=$gateway_pid [nginx-tls]=$gateway_pid)
        server_url[nginx]=http://127.0.0.1:$((port + 3))
        server_url[nginx-tls]=http://127.0.0.1:$((port + 4))
        for row in "${front_cases[@]}"; do
            read -r key server keepalive pace <<<"$row"
            [ "$keepalive" = - ] || start_nginx "$keepalive"
            rate=()
            [ -z "$pace" ] || rate=(--rate "$(tail -n 1 "$folder/$pace.messages_per_s" | awk '{ print int($1) + 1 }')")
            measure "$key" "$server" xhr /bench --mode echo --connections 100 --inflight 1 --size 32 \
                --warmup "$warmup" --duration "$seconds" "${rate[@]}"
            stop_server nginx
        done
        stop_server gateway
    done
}

# front_row WORDS RUN DIRECT-RUN BARRED?
front_row() {
    local r
    r=$(ratio "$2" "$3")
    verdict=""
    [ "$4" = no ] || bar "\"$r\" + 0 >= $bar_front"
    printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$(shown "$(median "$folder/$2.messages_per_s")")" \
        "$(shown "$(median "$folder/$3.messages_per_server_cpu_s")")" \
        "$(shown "$(median "$folder/$2.messages_per_server_cpu_s")")" "$r" "${verdict:+>= $bar_front $verdict}"
}
front_results() {
    printf '# nginx in front\n\nMessages per CPU second of the gateway with %s worker(s), xhr polling, ' "$workers"
    printf '100 users, 1 x 32 B, medians of\n%s round(s) of %s s. Direct: at the pace of the run through nginx. ' \
        "$rounds" "$seconds"
    machine
    printf '| upstream, idle connections kept | messages a second | direct | through nginx | of direct | bar |\n'
    printf '| --- | ---: | ---: | ---: | ---: | --- |\n'
    front_row "plain, 256" kept.nginx kept-pace.gateway yes
    front_row "TLS, 256" kept.nginx-tls kept-pace.gateway-tls yes
    front_row "plain, 32" few.nginx few-pace.gateway no
    front_row "TLS, 32" few.nginx-tls few-pace.gateway-tls no
    printf '\nDirect and as fast as it goes: plain %s messages per CPU second, TLS %s.\n' \
        "$(shown "$(median "$folder/direct.gateway.messages_per_server_cpu_s")")" \
        "$(shown "$(median "$folder/direct.gateway-tls.messages_per_server_cpu_s")")"
    verdicts
}
