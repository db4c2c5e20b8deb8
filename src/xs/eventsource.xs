/* The functions that perl calls: a file for each noun, which this one includes. Each XSUB snapshots its arguments, calls Rust
 * and returns the result: see snapshot.h for the arguments, error.h for exceptions, and mod.rs for the Rust side. */

#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#ifndef sv_copypv_nomg
#  define sv_copypv_nomg(to, from) sv_copypv(to, from)
#endif

#ifndef HvNAMEUTF8
#  define HvNAMEUTF8(stash) 0
#endif

#include "eventsource.h"
#include "error.h"
#include "snapshot.h"
#include "event.h"
#include "handle.h"
#include "text.h"
#ifdef __linux__
#  include "reactor.h"
#  include "stream.h"
#  include "writer.h"
#  include "takeover.h"
#  include "connection.h"
#  include "hub.h"
#endif

MODULE = EventSource::XS    PACKAGE = EventSource::XS

BOOT:
    {
        const char *debug = PerlEnv_getenv("EVENTSOURCE_XS_DEBUG");
        esx_is_debugging = debug && *debug && strNE(debug, "0");
    }
    esx_start();

void
_nothing(...)
  PPCODE:
    /* The minimal cost of a call, with which bench/format compares. */
    XSRETURN(0);

INCLUDE: event.xs

INCLUDE: value.xs

INCLUDE: parser.xs

INCLUDE: request.xs

#ifdef __linux__

INCLUDE: reactor.xs

INCLUDE: descriptor.xs

INCLUDE: takeover.xs

INCLUDE: stream.xs

INCLUDE: connection.xs


INCLUDE: hub.xs

INCLUDE: process.xs

#endif
