/* What is done with one task at its server, and with a server's tasks as a whole; private to the
 * life cycle. Called with the lock held, which is given back while a request or a reader runs. */
#ifndef MS_EXTRACT_TASK_SERVER_H
#define MS_EXTRACT_TASK_SERVER_H

#include "extract/task_list.h"

/* Sends a queued task that was taken to this server. */
enum ms_status ms_task_submit(struct ms_task_loop *loop, struct ms_task_server *server,
                              struct ms_task *task, struct ms_error *err) MS_MUST_USE;
/* Does what is due for a task in flight. */
enum ms_status ms_task_step(struct ms_task_loop *loop, struct ms_task_server *server,
                            struct ms_task *task, struct ms_error *err) MS_MUST_USE;
/* Takes up what the server says of a task's state. */
enum ms_status ms_task_seen(struct ms_task_loop *loop, struct ms_task_server *server,
                            struct ms_task *task, enum ms_task_status seen,
                            struct ms_error *err) MS_MUST_USE;

/* It gave a task id for a file, or knows a task of one that was sent to it. */
void ms_task_server_took(struct ms_task_server *server);
/* It gave none for this task's file (task->reason says what it answered); whether it has it all the
 * same is found out by hash. The next file waits, longer each time. */
void ms_task_server_refused(struct ms_task_server *server, struct ms_task *task);
/* The server asks to be left alone for so long. */
void ms_task_server_rest(struct ms_task_server *server, int64_t wait_ms);
/* The thread of the server that ctx is: all its tasks until loop->stop. */
void *ms_task_server_run(void *ctx);
/* When a look at one task is due again that has just been looked at. */
int64_t ms_task_server_next_ms(const struct ms_task_server *server);

#endif
