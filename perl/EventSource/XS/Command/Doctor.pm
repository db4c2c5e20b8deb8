package EventSource::XS::Command::Doctor;
use strict;
use warnings;

# The command `eventsource doctor URL`: reads the command line, examines the stream, prints the report.

our $VERSION = '0.100';

use EventSource::XS::Command;
use EventSource::XS::Doctor;
use EventSource::XS::Doctor::Report;
use Getopt::Long ();
use POSIX        ();
use URI;

my $COMMAND = 'EventSource::XS::Command';

my %EXIT = (fine => 0, wrong => 1, usage => 2, unreachable => 3);

my $USAGE = <<'USAGE';
usage: eventsource doctor [OPTIONS] URL

Reads an event stream as a client, and says what is wrong with it and how to mend it.

  --seconds N          how long to read the stream (default: 20)
  --trigger COMMAND    causes an event, to measure when it arrives; runs in a shell
  --hub NAME           publishes that event to this hub, which has a process of its own
  --channel CHANNEL    with --hub: the channel, which the stream reads
  --socket PATH        with --hub: its socket, if it is not in the folder of this user
  --workers PID,PID    with --hub: its workers, not those connected to it
  --method METHOD      of the request (default: GET, or POST with --data)
  --data TEXT          the body of the request; @FILE reads it from a file
  --header 'NAME: VALUE'  one more header; may be repeated
  --cookie COOKIE      the header Cookie
  --origin ORIGIN      checks that pages of this origin may read the stream, such as https://example.org
  --insecure           takes any certificate
  --json               prints one object in JSON
  --help               prints this text

Exit codes: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 usage, 3 no connection.
USAGE

# Public methods

sub run {
    my ($class,  @arguments) = @_;
    my ($option, $trouble)   = _options(@arguments);
    if ($option->{help}) {
        $COMMAND->print($USAGE);
        return $EXIT{fine};
    }
    if (defined $trouble) {
        $COMMAND->complain('doctor', $trouble);
        print STDERR "\n$USAGE";
        return $EXIT{usage};
    }
    my $is_json = delete $option->{json};
    print STDERR "Reading $option->{url} for $option->{seconds} seconds ...\n" if !$is_json && POSIX::isatty(2);
    my $doctor  = EventSource::XS::Doctor->new(%$option);
    my @found   = $doctor->examine;
    my $report  = EventSource::XS::Doctor::Report->new($doctor, @found);
    my $failure = $doctor->failure;
    $COMMAND->print($is_json ? $report->json : $failure ? _unreachable($failure) : $report->text);
    return $failure ? $EXIT{unreachable} : $report->count('wrong') ? $EXIT{wrong} : $EXIT{fine};
}

# Private functions

# What a value must be; each returns what is wrong, or nothing.
my %CHECK = (
    seconds => sub {
        return $_[0] =~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/ && $_[0] > 0 && $_[0] <= 86_400
            ? ()
            : 'must be a number of seconds above 0, at most 86400';
    },
    method  => sub { return $_[0] =~ /\A[A-Za-z]+\z/ ? ()                 : 'must be a method of HTTP, such as POST' },
    cookie  => sub { return $_[0] =~ /[\r\n\0]/      ? 'must be one line' : () },
    channel => sub { return length $_[0]                                    ? () : 'must not be empty' },
    hub     => sub { return $_[0] =~ /\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\z/ ? () : 'must be the name of a hub' },
    origin  => sub {
        return $_[0] =~ m{\A(?:[a-z][a-z0-9+.-]*://[^\s/]+|null)\z}
            ? ()
            : 'must be an origin, such as https://example.org';
    },
    workers => sub { return $_[0] =~ /\A[0-9]+(?:,[0-9]+)*\z/ ? () : 'must be process ids, such as 4711,4712' },
);

# Returns the options, and what is wrong with them.
sub _options {
    my @arguments = @_;
    my %option    = (seconds => 20, header => []);
    my $parser    = Getopt::Long::Parser->new(config => [qw(no_auto_abbrev no_ignore_case)]);
    my @names     = map { "$_=s" } qw(channel cookie data hub method origin seconds socket trigger workers);
    my $trouble;
    {
        local $SIG{__WARN__} = sub { $trouble = lcfirst shift if !defined $trouble };
        $parser->getoptionsfromarray(\@arguments, \%option, @names, 'header=s@', qw(insecure json help));
    }
    chomp $trouble if defined $trouble;
    return (\%option, $trouble)       if defined $trouble || $option{help};
    return (\%option, 'which URL?')   if !@arguments;
    return (\%option, 'only one URL') if @arguments > 1;
    my $url = URI->new($arguments[0]);
    return (\%option, "the URL must begin with http:// or https://, not '$arguments[0]'")
        if ($url->scheme || '') !~ /\Ahttps?\z/ || !length($url->host || '');
    $option{url} = $arguments[0] =~ s/#.*//sr;

    for my $name (grep { defined $option{$_} } sort keys %CHECK) {
        my ($wrong) = $CHECK{$name}->($option{$name});
        return (\%option, "--$name $wrong") if defined $wrong;
    }
    return (\%option, _read_data(\%option) || _read_headers(\%option) || _read_hub(\%option));
}

sub _read_data {
    my $option = shift;
    return                     if !defined $option->{data};
    $option->{method} = 'POST' if !defined $option->{method};
    if ($option->{data} =~ /\A\@(.+)\z/s) {
        my $path = $1;
        open my $file, '<:raw', $path or return "--data: $path: $!";
        $option->{data} = do { local $/ = undef; readline $file };
        $option->{data} = '' if !defined $option->{data};
    }
    return;
}

sub _read_headers {
    my $option = shift;
    my @headers;
    for my $line (@{delete $option->{header}}) {
        my ($name, $value) = $line =~ /\A([!#\$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\z/
            or return "--header must be 'NAME: VALUE', not '$line'";
        push @headers, [$name, $value];
    }
    $option->{headers} = \@headers;
    $option->{method}  = uc $option->{method} if defined $option->{method};
    return;
}

sub _read_hub {
    my $option = shift;
    $option->{workers} = [split /,/, $option->{workers}] if defined $option->{workers};
    for my $name (qw(channel socket workers)) {
        return "--$name needs --hub" if defined $option->{$name} && !defined $option->{hub};
    }
    return;
}

sub _unreachable {
    my $failure  = shift;
    my $sentence = ucfirst $COMMAND->visible($failure->{sentence});
    $sentence .= '.' if $sentence !~ /[.]\z/;
    my $remedy =
        $failure->{where} eq 'connect'
        ? 'Check the host, the port, and that the server runs; a firewall may be between.'
        : $failure->{where} eq 'head' ? 'Check that the port speaks HTTP/1.1; for TLS write https://.'
        : $sentence =~ /certificate|verify/i
        ? 'Let the server send a valid certificate with its chain; --insecure takes any.'
        : $sentence =~ /needs the module/ ? undef
        :                                   'Check that the port speaks TLS; without TLS write http://.';
    return "$sentence\n" . (defined $remedy ? "Remedy: $remedy\n" : '');
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Command::Doctor - Say what is wrong with an event stream, and how to mend it

=head1 SYNOPSIS

    use EventSource::XS::Command::Doctor;

    my $exit_code = EventSource::XS::Command::Doctor->run('--seconds', 2, 'http://127.0.0.1:1/events');

=head1 DESCRIPTION

    eventsource doctor https://events.example.org/events
    eventsource doctor --hub shop --channel news https://events.example.org/events
    eventsource doctor --trigger './publish-one' --seconds 60 https://events.example.org/events

The command opens the stream of any server as a browser would, through all proxies in front of it. It reads the stream
for some seconds, opens a second one beside it, disconnects, and resumes with the last event ID. Then it says what is
wrong, each time with a remedy, and with the lines of configuration for nginx, HAProxy, Caddy and Apache where one of
them can be the cause.

A stream that withholds events looks like a quiet one. So let the doctor cause an event, with C<--trigger> or C<--hub>.

The doctor speaks HTTP/1.1 itself, and asks by ALPN whether the server offers HTTP/2. C<https> needs L<IO::Socket::SSL>. To
find out which of several proxies is at fault, examine the application first, then each proxy from the inside out.

=head1 OPTIONS

=over

=item C<--seconds N>

How long to read the stream: a number above 0, at most 86,400, by default 20. Choose more than the keepalive, and more
than the timeout of the proxy, to see a stream that is cut: 70 for the usual 60 seconds.

=item C<--trigger COMMAND>

A command for F</bin/sh> that causes one event on the stream. It runs twice, at most 30 seconds each time: once for the
time until the event arrives, and once while the doctor is away, for the resume. It finds a token in the variable
C<EVENTSOURCE_DOCTOR_PROBE>; put it into the event, and other events are not taken for it.

=item C<--hub NAME>, C<--channel CHANNEL>, C<--socket PATH>

Publish that event to a channel of a hub that has a process of its own on this machine (L<EventSource::Hub/name>). Its
type is C<eventsource-doctor>. The socket is needed only if it is not in the folder of this user. C<--hub> without
C<--channel> publishes nothing, and only checks the process.

=item C<--workers PID,PID>

The workers of that hub, instead of the processes that are connected to it now.

=item C<--method METHOD>, C<--data TEXT>, C<--data @FILE>

The method, by default C<GET>, and the body of the request. With C<--data> the method is C<POST> and the type
C<application/json>, unless given otherwise. A request with another method than C<GET> is made once: there is no second
client and no resume.

=item C<--header 'NAME: VALUE'>, C<--cookie COOKIE>

More headers of each request. They replace the doctor's own.
Headers, cookie and data are for the origin of the URL: if it redirects to another origin, the doctor sends them no further, and
says so.

=item C<--origin ORIGIN>

Check that pages of this origin may read the stream, with the cookies of C<--cookie>, and that a preflight is answered.

=item C<--insecure>

Take any certificate.

=item C<--json>

Print one object (L</JSON>).

=back

=head1 CHECKS

Each has a verdict: C<ok>, C<warning> (it works, but not everywhere or not for long), C<wrong>.

=over

=item C<redirect>, C<status>, C<type>

The response has the status 200 and the type C<text/event-stream>, without redirects. Other statuses are explained.

=item C<head>, C<buffering>, C<second_client>

The head comes within a second. The event of C<--trigger> or C<--hub> arrives within a second; without one, keepalives do not
arrive in bursts, and no silence is in the middle of an event. A second client is answered while the first stream is open.
What follows from withheld bytes, such as a cut of a silence that the application did not make, is not reported beside them.

=item C<keepalive>, C<end>, C<timeout>

The longest silence is short enough for proxies. The stream is open until the doctor leaves: it is not cut after a silence
(C<timeout>, with the setting whose usual value that is), not cut in the middle, and does not end.

=item C<compression>

The response is not compressed unasked. If it is compressed for a client that asks for it, as browsers do, what it sends comes
no more than a second later than to a second client without compression.

=item C<cached>, C<cache_control>, C<x_accel_buffering>

No cache has answered, none may, and nginx is told not to buffer.

=item C<ids>, C<resume>, C<last_event_id>, C<retry>

Events have ids. A client that reconnects with one of them receives what it has missed, once, or is told of a gap. If a
server resumes by a query parameter but not by the header, a proxy removes C<Last-Event-ID>. The reconnection time is
not extreme.

=item C<version>, C<http2>, C<framing>

The response is HTTP/1.1 and chunked, and the server offers HTTP/2 to browsers, which open at most six connections over
HTTP/1.1.

=item C<origin>, C<preflight>

With C<--origin>: the headers of CORS, C<Vary>, and the answer to C<OPTIONS> for C<Last-Event-ID>.

=item C<format>, C<utf8>, C<encoded_twice>, C<line_ends>, C<bom>, C<fields>, C<bad_retry>, C<nul>, C<unfinished>, C<no_data>

The bytes of the stream are as WHATWG HTML, section 9.2.5, describes them.

=item C<hub_process>

With C<--hub>: the process of the hub is in another cgroup than its workers. Otherwise a restart of their service by
systemd kills the hub, its history and all streams. Linux.

=item C<hub_store>

With C<--hub>: the store of the hub (L<EventSource::Hub/store>) is up and takes events, Redis does not evict, a file is on a
local disk that survives a reboot, and no history was lost since the hub's process began. The sentence has the size of the
store, how many events wait to be stored, how late the last one came from Redis, and the last error. Linux.

=back

=head1 EXIT CODES

=over

=item C<0>

Nothing is wrong. There may be warnings.

=item C<1>

Something is wrong.

=item C<2>

The command line has a mistake. The usage is printed to the standard error.

=item C<3>

There is no connection, TLS has failed, or the answer is no HTTP.

=back

=head1 JSON

One object: C<url> (after redirects), C<seconds>, C<summary> (a sentence), C<wrong>, C<warning> and C<ok> (numbers of
findings), C<failure> (only with the exit code 3: C<where> and C<sentence>), C<findings> and C<measurements>.

A finding has C<check>, C<verdict>, C<sentence>, C<remedy> (a string or null), C<configuration> (an array of lines by
the name of the proxy) and C<measured> (an object, which may be empty).

The measurements are in seconds since the request began, or null: C<connected_at>, C<tls_at>, C<sent_at>, C<first_at>
(the first byte), C<head_at>, C<body_at> (its first byte), C<first_event_at>, C<ended_at>, C<keepalives_at> (an array);
C<probe_seconds> from the publication to the arrival; C<retry> in milliseconds. C<end> is C<complete>, C<cut>, C<closed>
(the framing does not tell) or null. Further: C<address>, C<status>, C<http>, C<alpn>, C<headers> (pairs), C<redirects>,
C<bytes>, and the numbers C<events> and C<ids>.

=head1 METHODS

=head2 run

    my $exit_code = EventSource::XS::Command::Doctor->run(@arguments);

Run the command with the arguments of the command line, and return its exit code. Print the report to the standard output.

=head1 SEE ALSO

L<EventSource::Troubleshooting>, L<EventSource::Deployment/PROXIES>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
