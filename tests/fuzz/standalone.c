/*
 * standalone: a main for a fuzz target that was built without libFuzzer: it replays every file of
 * the folders (and every file) given as arguments, so that ctest runs the corpus with any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what, const char *path)
{
    perror(path);
    (void)fprintf(stderr, "standalone: cannot %s %s\n", what, path);
    exit(1);
}

static void replay_file(const char *path, size_t size)
{
    uint8_t *data = malloc(size + 1);
    FILE *file = fopen(path, "rb");

    if (data == NULL || file == NULL || fread(data, 1, size, file) != size) {
        die("read", path);
        return;
    }
    (void)fclose(file);
    /* The path comes first: a crash leaves it as the last line. */
    (void)fprintf(stderr, "%s: %zu bytes\n", path, size);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static size_t replay(const char *path);

static size_t replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    size_t n_files = 0;

    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        die("list", path);
    }
    for (int i = 0; i < n; i++) {
        char name[4096];
        if (entries[i]->d_name[0] != '.') {
            int len = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
            if (len < 0 || (size_t)len >= sizeof name) {
                die("name", path);
            }
            n_files += replay(name);
        }
        free(entries[i]);
    }
    free(entries);
    return n_files;
}

/* Returns how many files it has replayed. */
static size_t replay(const char *path)
{
    struct stat facts;

    if (stat(path, &facts) != 0) {
        die("find", path);
    }
    if (S_ISDIR(facts.st_mode)) {
        return replay_folder(path);
    }
    replay_file(path, (size_t)facts.st_size);
    return 1;
}

int main(int argc, char **argv)
{
    size_t n_files = 0;

    for (int i = 1; i < argc; i++) {
        n_files += replay(argv[i]);
    }
    (void)fprintf(stderr, "%zu files\n", n_files);
    /* An empty or misnamed folder must not pass for a test. */
    return n_files != 0 ? 0 : 1;
}
