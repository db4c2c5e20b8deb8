/* What C and Rust agree on. On the Rust side functions have the same names, and a type says which of these it is. */

#ifndef EVENTSOURCE_H
#define EVENTSOURCE_H

#include <stddef.h>
#include <stdint.h>

/* Which field of an event. ESX_RETRY_LINE is a retry that may be any one line, ESX_DATA_TRIMMED data that loses the
 * line breaks at its end and is left out when nothing remains: the ways of the modules that we stand in for. */
enum esx_name {
    ESX_EVENT, ESX_ID, ESX_RETRY, ESX_RETRY_LINE, ESX_DATA, ESX_DATA_TRIMMED, ESX_COMMENT, ESX_BLANK
};

/* How strings are taken; see src/xs/strings.rs. */
enum esx_strings { ESX_AS_HELD, ESX_CHARACTERS, ESX_BYTES, ESX_EITHER };

/* What has to be done with one field's bytes; esx_measure finds it. */
enum esx_form { ESX_COPY, ESX_LATIN1, ESX_REPAIR, ESX_DOWNGRADE };

enum esx_line_end { ESX_LF, ESX_CRLF };

enum esx_status { ESX_OK, ESX_REWORK, ESX_ERROR, ESX_PANIC };

/* One field: a scalar's bytes and its SvUTF8 flag. */
typedef struct {
    const char *text;
    size_t len;
    uint8_t name;
    uint8_t utf8;
    uint8_t form;
} esx_field;

/* What a call says besides its status. Rust writes it, and reads none of it. */
typedef struct {
    size_t size;       /* esx_measure: the most bytes that esx_encode will write; esx_encode: how many it wrote */
    size_t at;         /* after ESX_ERROR: the field that is wrong */
    uint8_t utf8;      /* whether the result holds characters, encoded as perl does, rather than bytes */
    char message[248]; /* after ESX_ERROR: the trouble, ending in NUL */
} esx_report;

int esx_measure(esx_field *fields, size_t len, int strings, esx_report *report);
int esx_encode(const esx_field *fields, size_t len, int line_end, char *out, size_t out_len, esx_report *report);
size_t esx_repair(const char *text, size_t len, char *out, size_t out_len);

/* A dispatched event; the pointers hold until the next call with the same parser. */
typedef struct {
    const char *event, *data, *id;
    size_t event_len, data_len, id_len;
} esx_event;

void *esx_parser_new(size_t max_event);
void *esx_parser_clone(const void *parser);
void esx_parser_drop(void *parser);
int esx_parser_feed(void *parser, const char *bytes, size_t len, esx_report *report);
size_t esx_parser_ready(const void *parser);
int esx_parser_next(void *parser, esx_event *event);
void esx_parser_finish(void *parser);
size_t esx_parser_last_event_id(const void *parser, const char **id);
int esx_parser_retry(const void *parser, uint64_t *retry);

void esx_start(void);

#endif
