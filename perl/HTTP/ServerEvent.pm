package HTTP::ServerEvent;
use strict;
use warnings;

# A drop-in for the module of this name; as_string is in src/xs/eventsource.xs.

our $VERSION = '0.100';

use EventSource::XS ();

1;
__END__

=encoding utf8

=head1 NAME

HTTP::ServerEvent - Format one server-sent event, natively

=head1 SYNOPSIS

    use HTTP::ServerEvent;

    my $counter = 0;
    my $string  = HTTP::ServerEvent->as_string(
        event => 'ping',
        data  => time,
        retry => 5000,
        id    => ++$counter,
    );

=head1 DESCRIPTION

A drop-in for the module of this name: the same characters, more than ten times as fast. New code is better served by
L<EventSource::XS/format_event>, which encodes, loses no line and knows JSON.

=head1 METHODS

=head2 as_string

    my $string = HTTP::ServerEvent->as_string(event => $name, id => $id, retry => $milliseconds, data => $data);

Formats an event: C<event>, C<id>, C<retry>, then C<data>, each line ending in CRLF, and a blank line. A field that is
C<undef> is left out, an unknown one is ignored. Characters go in and come out: nothing is encoded, so that is left to
do before the string is sent.

C<data> is a string or a reference to an array of strings; each is split at CR, LF and CRLF into lines of their own. As
Perl's C<split> does, this drops empty lines at the end of each string, and an empty string altogether.

Croaks with C<Newline or null detected in event type '...'. Possible event injection.> when C<event>, C<id> or C<retry>
holds CR, LF or NUL.

=head1 DIFFERENCES

From the original it differs in one thing: C<< data => 0 >> is sent. That module takes it for no data.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
