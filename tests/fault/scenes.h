/* scenes: what happens on the stage while something fails: one whole life of each transport. */
#ifndef POSTERN_FAULT_SCENES_H
#define POSTERN_FAULT_SCENES_H

#include <stdbool.h>

#include "fault/stage.h"
#include "fault/user.h"

enum scene_plot {
    SCENE_WHOLE, /* everything that a session can meet */
    SCENE_SHORT, /* a visitor, for what one door has of its own */
    SCENE_STOP,  /* the worker is told to stop: no fresh client after that */
    SCENE_START, /* the failure strikes while the process starts */
};

struct scene {
    const char *name;
    enum user_transport transport;
    enum stage_door door;
    enum scene_plot plot;
};

/* Ends with an entry whose name is NULL. */
extern const struct scene scenes[];

/* Plays the scene to its end. What went wrong whatever had failed, or NULL. `is_whole`: everybody
 * got all that the script says. */
const char *scene_play(const struct scene *scene, struct stage *stage, bool *is_whole);
/* A client that comes when nothing fails any more: NULL, or what it did not get. */
const char *scene_serve_fresh(const struct scene *scene, struct stage *stage);
/* Everybody who still is there goes. */
void scene_clear(void);

#endif
