/* The types and functions that C and Rust share. The functions have the same names in Rust. The documentation of each Rust
 * type names its C type. */

#ifndef EVENTSOURCE_H
#define EVENTSOURCE_H

#include <stddef.h>
#include <stdint.h>

/* The field of an event. ESX_RETRY_LINE is a retry that may be any one line. ESX_DATA_TRIMMED is data whose line breaks at
 * the end are removed, and that is omitted if nothing remains. The drop-in modules need both. */
enum esx_name {
    ESX_EVENT, ESX_ID, ESX_RETRY, ESX_RETRY_LINE, ESX_DATA, ESX_DATA_TRIMMED, ESX_COMMENT, ESX_BLANK
};

/* The meaning of strings; see src/xs/strings.rs. In a field ESX_AS_IS stands for the meaning that the call has. */
enum esx_strings { ESX_AS_IS, ESX_CHARACTERS, ESX_BYTES, ESX_EITHER };

/* The conversion of one field's text. esx_measure determines it; C performs the last two. */
enum esx_conversion { ESX_COPY, ESX_REPAIR = 2, ESX_DOWNGRADE };

enum esx_line_end { ESX_LF, ESX_CRLF };

enum esx_status { ESX_OK, ESX_CONVERT, ESX_ERROR, ESX_ENDING = 4, ESX_ENCODED };

typedef struct {
    const char *text;
    size_t len;
} esx_text;

/* One field: a scalar's bytes and its SvUTF8 flag. */
typedef struct {
    const char *text;
    size_t len;
    uint8_t name;
    uint8_t utf8;
    uint8_t conversion;
    uint8_t strings;
} esx_field;

/* The kinds of errors that C finds; src/error_code.rs has all. */
enum esx_code { ESX_CODE_INVALID, ESX_CODE_STATE, ESX_CODE_UNAVAILABLE = 3, ESX_CODE_INTERNAL = 5 };

/* The results of a call besides its status. Rust writes it and never reads it. */
typedef struct {
    size_t size;       /* the size of an encoded block; of one that is only measured, the maximal size */
    size_t at;         /* esx_measure, after ESX_ERROR: the index of the invalid field */
    uint8_t utf8;      /* true if the result holds characters, encoded as perl does, rather than bytes */
    uint8_t code;      /* after an error: its kind */
    char field[32];    /* after an error: the name of the field or setting at fault, or nothing; ends in NUL */
    char message[248]; /* after an error: ends in NUL */
} esx_report;

/* The name of a kind of error. */
esx_text esx_code_name(int code);

int esx_measure(esx_field *fields, size_t len, int strings, int line_end, char *out, size_t room, esx_report *report);
int esx_encode(const esx_field *fields, size_t len, int line_end, char *out, size_t out_len, esx_report *report);
size_t esx_repair(const char *text, size_t len, char *out, size_t out_len);
int esx_is_encoded(const char *text, size_t len, int utf8);

void *esx_parser_new(size_t max_event);
void esx_parser_drop(void *parser);
int esx_parser_feed(void *parser, const char *bytes, size_t len, esx_report *report);
size_t esx_parser_ready(const void *parser);
int esx_parser_next(void *parser, esx_text event[3]);
void esx_parser_finish(void *parser);
esx_text esx_parser_last_event_id(const void *parser);
int esx_parser_retry(const void *parser, uint64_t *retry);

/* The answer of a call: texts, whose number is the size of the report. They are characters if that says so (utf8). */
esx_text esx_answer_at(const void *answer, size_t at);
void esx_answer_drop(void *answer);
void *esx_request_call(const esx_text *given, size_t len, esx_report *report);

/* The settings of a new stream. Times are in seconds. */
typedef struct {
    const char *head, *opening;
    size_t head_len, opening_len;
    double keepalive, timeout, retry, handler_limit;
    size_t max_buffered, max_streams;
    int socket;
    uint32_t interpreter;
    uint8_t is_chunked, line_end, drops_oldest, waits, ends_with_handle, may_wait, coding;
} esx_opening;

enum esx_pushed { ESX_TAKEN, ESX_FULL };

/* Whether an event that is pushed has an id. */
enum esx_has_id { ESX_NO_ID, ESX_HAS_ID, ESX_ID_UNKNOWN };

void *esx_stream_open(const esx_opening *opening, esx_report *report);
void *esx_takeover_begin(int number, int must_be_connection, esx_report *report);
void esx_takeover_drop(void *takeover);
int esx_takeover_has_head(void *takeover);
void *esx_takeover_open(void *takeover, const esx_opening *opening, esx_report *report);
void esx_stream_drop(void *stream);
int esx_stream_attach(void *stream, int socket);
int esx_stream_take_over(void *stream, int number);
int esx_stream_push(void *stream, const char *event, size_t len, int has_id);
void esx_stream_report_handler(void *stream, esx_text line, int log);
void esx_stream_wait(void *stream, size_t len, uint32_t milliseconds);
void esx_stream_wait_for_end(void *stream, uint32_t milliseconds);
int esx_stream_close(void *stream, esx_text reason);
void esx_stream_end_with_retry(void *stream);
void esx_stream_fail(void *stream);
void esx_stream_release(void *stream);
void esx_stream_enter_handler(void *stream);
void esx_stream_leave_handler(void *stream);
int esx_stream_is_subscribed(void *stream);
int esx_stream_has_begun(void *stream);
int esx_stream_line_end(void *stream);
int esx_stream_is_open(void *stream);
int esx_stream_is_attached(void *stream);
int esx_stream_is_handed_over(void *stream);
int esx_stream_is_for_hub_process(void *stream);
int esx_stream_ends_with_handle(void *stream);
size_t esx_stream_buffered(void *stream);
uint64_t esx_stream_name(void *stream);
int esx_stream_want_end(void *stream);
void esx_stream_promise(void *stream, int is_promised);
void esx_stream_transfer(void *stream);
void esx_stream_leave_other_clients(void *stream);
void esx_stream_end_process_too(void *stream, double grace, int report);
int esx_stream_wait_until_sent(void *stream, uint32_t milliseconds);
int esx_next_end(uint32_t interpreter, uint64_t *name);
esx_text esx_reason(uint32_t number);
uint32_t esx_new_interpreter(void);
void esx_finish(void);
void esx_linger(double seconds);
void esx_serve(int has_request);
int esx_notify_descriptor(uint32_t interpreter);
int esx_has_callbacks(void);
void esx_count_callbacks(ptrdiff_t added);
size_t esx_signal_action(int signal);
void esx_set_end_signal(int signal, uint32_t interpreter);
void esx_remove_interpreter(uint32_t interpreter);

/* Looks at the client of a relay: the seconds until the next look, or a negative number if the client is dead. */
void *esx_relayed_client_new(void);
void esx_relayed_client_drop(void *client);
double esx_relayed_client_look(void *client, int number, double timeout);

/* These return the result, or the negated error number. */
int esx_duplicate(int number);
int esx_is_connection(int number);
int esx_has_left(int number);
void esx_cork(int number);
int esx_is_hung_up(int number);
size_t esx_default_max_streams(void);
uint32_t esx_generation(void);
int esx_is_short(void);

/* What an event does to the state of its channel, in the order of src/log/mod.rs. */
enum { ESX_RETAIN_NO, ESX_RETAIN_NEWEST, ESX_RETAIN_FORGET };

/* What a publish does: without waiting for a hub process, waiting, or nothing but to check the event. */
enum esx_act { ESX_SEND, ESX_WAIT, ESX_CHECK };

/* An event to publish. */
typedef struct {
    esx_text channel, key, once;
    const esx_field *fields;
    size_t len;
    uint8_t act, retain, is_json;
} esx_publication;

/* The longest id that a hub makes. */
enum { ESX_ID_MAX = 64 };

void *esx_hub_new(const esx_text *given, size_t len, esx_report *report);
void *esx_hub_clone(const void *hub);
void esx_hub_drop(void *hub);
int esx_hub_check_ids(const esx_field *fields, size_t len, esx_report *report);
int esx_hub_publish(void *hub, const esx_publication *publication, char *id, esx_report *report);
void *esx_hub_subscribe(void *hub, void *stream, const esx_text *given, size_t len, esx_report *report);
void *esx_hub_call(void *hub, const esx_text *given, size_t len, esx_report *report);
uint64_t esx_monotonic(void);

/* Leases: what one worker of a named hub does for all. The states are 0 while another worker holds it, 1 if
 * this one does, 2 if the connection was lost. */
void *esx_hub_elect(void *hub, esx_text name, uint32_t interpreter, esx_report *report);
int esx_lease_state(void *lease);
void esx_lease_drop(void *lease);

/* A connection to a hub process; without one (NULL) the calls that need none. */
void *esx_process_connect(const esx_text *given, size_t len, esx_report *report);
void esx_process_drop(void *process);
void *esx_process_call(void *process, const esx_text *given, size_t len, esx_report *report);

void esx_start(void);

#endif
