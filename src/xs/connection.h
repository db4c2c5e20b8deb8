/* Connections (Plack::App::EventSource::Connection): hashes with a stream. */

/* Returns the hash of a plain connection and sets the meaning of its strings. Returns NULL if the connection has a push_cb, or
 * if reading its members could run Perl code. */
static HV *
esx_plain_connection(pTHX_ SV *self, int *strings)
{
    HV *hash;
    SV **characters;
    if (SvGMAGICAL(self) || !SvROK(self) || SvTYPE(SvRV(self)) != SVt_PVHV || SvRMAGICAL(SvRV(self)))
        return NULL;
    hash = (HV *)SvRV(self);
    characters = hv_fetchs(hash, "characters", 0);
    if (hv_exists(hash, "push_cb", 7) || (characters && (SvGMAGICAL(*characters) || SvROK(*characters))))
        return NULL;
    *strings = characters && SvTRUE_nomg(*characters) ? ESX_CHARACTERS : ESX_EITHER;
    return hash;
}

/* Returns true if a stream is a relay, which is a hash, and its server blocks. Its method write looks whether the client is
 * there. In an event loop a watcher does that. */
static bool
esx_is_blocking_relay(pTHX_ SV *stream)
{
    SV *nonblocking = SvTYPE(stream) == SVt_PVHV ? esx_member(aTHX_ (HV *)stream, "nonblocking") : NULL;
    return nonblocking && !SvTRUE_nomg(nonblocking);
}

/* Returns the stream that a plain connection pushes to: a native one, or one on the server's writer, of which this sets the
 * member direct. Returns NULL if it has another one, or if reading it could run Perl code. */
static SV *
esx_stream_to_push(pTHX_ SV *self, int *strings, AV **direct)
{
    HV *connection = esx_plain_connection(aTHX_ self, strings);
    SV *stream = connection ? esx_member(aTHX_ connection, "stream") : NULL;
    *direct = NULL;
    if (!stream || !SvROK(stream) || esx_handle_magic(aTHX_ stream, &esx_stream_table))
        return stream && SvROK(stream) && !esx_is_blocking_relay(aTHX_ SvRV(stream)) ? stream : NULL;
    *direct = esx_direct_of(aTHX_ stream);
    return *direct ? stream : NULL;
}

/* Croaks if a measured block has an id that a stream with subscriptions must not be sent. */
static void
esx_check_ids(pTHX_ const esx_block *block)
{
    esx_report report;
    esx_check(aTHX_ esx_hub_check_ids(block->fields, block->len, &report), &report, "EventSource::Hub");
}

static bool
esx_block_has_id(const esx_block *block)
{
    size_t at;
    for (at = 0; at < block->len; at++)
        if (block->fields[at].name == ESX_ID)
            return TRUE;
    return FALSE;
}
