package EventSource::Doctor::Check::Compression;
use strict;
use warnings;

# Whether something compresses the stream.

our $VERSION = '0.100';

use EventSource::Doctor::Finding;

my $FINDING = 'EventSource::Doctor::Finding';

my $REMEDY =
      'Compress no text/event-stream, neither in the proxy nor in middleware of the application: a compressor withholds'
    . ' bytes, and costs memory for each stream.';

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming;
    my ($asked, $unasked) = map { $_ ? _encoding($_) : undef } @$seen{qw(stream second)};
    my %said = (measured => {asked => $asked, unasked => $unasked});
    my %mend = (remedy   => $REMEDY, proxies => ['compression'], %said);
    return $FINDING->wrong('compression',
        "The response is compressed ($unasked) for a client that has asked for no compression.", %mend)
        if defined $unasked;
    return $FINDING->ok('compression', 'The response is not compressed.', %said) if !defined $asked;
    my $stream = $seen->{stream};
    my $second = $seen->{second};
    my $body   = $second ? $second->body : undef;
    my $gets_less =
           $second
        && scalar(()  = $body->events,         $body->keepalives) > 2
        && !scalar(() = $stream->body->events, $stream->body->keepalives);
    return $FINDING->wrong(
        'compression',
        "The response is compressed ($asked), and the compressor withholds what a client without compression receives.",
        %mend
    ) if $gets_less;
    my $vary =
        ($stream->header('Vary') || '') =~ /Accept-Encoding|\*/i ? '' : ' It has no Vary: Accept-Encoding either.';
    return $FINDING->warning('compression', "The response is compressed ($asked).$vary", %mend);
}

# Private functions

sub _encoding {
    my $encoding = $_[0]->has_head ? $_[0]->header('Content-Encoding') : undef;
    return defined $encoding && lc $encoding ne 'identity' ? $encoding : undef;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Doctor::Check::Compression - Whether something compresses the stream

=head1 SYNOPSIS

    use EventSource::Doctor;
    use EventSource::Doctor::Check::Compression;

    my $doctor = EventSource::Doctor->new(url => 'http://127.0.0.1:1/events', seconds => 2);
    print map { $_->sentence . "\n" } EventSource::Doctor::Check::Compression->findings($doctor);

=head1 METHODS

=head2 findings

    my @findings = EventSource::Doctor::Check::Compression->findings($doctor);

Judge what an L<EventSource::Doctor> has seen so far, and return objects of L<EventSource::Doctor::Finding>:
C<compression>. Return nothing of what it has not seen.

=head1 SEE ALSO

L<EventSource::Command::Doctor/CHECKS>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
