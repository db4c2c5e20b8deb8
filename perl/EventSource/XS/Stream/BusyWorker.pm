package EventSource::XS::Stream::BusyWorker;
use strict;
use warnings;

# A handler occupies its worker while it runs, on a server that blocks. An endless one occupies it for ever, so this module
#
# - has the log say so, once for each application in a process: when the handler has run for some seconds and has not closed
#   its stream (the reactor's thread prints that, because such a handler may do nothing but sleep), and when it has pushed for
#   some seconds to a client that has left;
# - has it say, too, when a handler has returned and something keeps its connection while an event loop is loaded: its timers do
#   not run on such a server, so nothing would ever be pushed;
# - ends the handler by an exception when the server waits for it to end the worker. A handler that has only begun may finish:
#   it may be a job that reports its progress.

use EventSource::Gone;
use EventSource::XS::Adapter;
use EventSource::XS::Library;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

# Seconds after which a handler is reported, and may end with its worker; and after which pushes to a client that has left are
# reported. A test has less.
our ($LIMIT, $GONE_LIMIT) = (10, 5);    ## no critic (ProhibitPackageVars)

# The handler that runs, as an array, which is made more quickly than a hash: its stream, the environment of its request, its
# application (_application), when it looks next whether its worker is to end, what was set for that before, when a push was
# first refused because the client had left, and whether that was reported.
our $running;    ## no critic (ProhibitPackageVars) it is local
my ($STREAM, $REQUEST, $APPLICATION, $LOOK_AT, $BEFORE, $REFUSED_AT, $IS_REPORTED) = 0 .. 6;

my $REMEDY = 'spawn => 1 runs each handler in a child process';

# Public methods

# A handler of a component begins, on a server that blocks: local $running = begin(...). Returns undef if others run beside it.
sub begin {
    my ($class, $stream, $env, $component) = @_;
    return undef if $env->{'psgi.multithread'} || $env->{'psgi.run_once'};
    my $application = $component->{_kept};
    $application = $component->{_kept} = _application($component)
        if !$application || $application->{generation} != EventSource::XS::_generation();
    my $log = fileno STDERR;
    $stream->_report_handler($application->{line}, $log) if defined $log && $stream->is_native;
    my $look_at = clock_gettime(CLOCK_MONOTONIC) + $LIMIT;
    return [$stream, $env, $application, $look_at, EventSource::XS::_set_next_look($look_at)];
}

# The handler has returned. One that has called it runs on.
sub end {
    EventSource::XS::_set_next_look($running->[$BEFORE]) if $running;
    return;
}

# End the stream of the running handler if the server waits for it to end the worker. Returns true if it does. Looks once a
# second at most, and not before the limit.
sub is_over {
    my $handler = $running or return !!0;
    return !!0 if clock_gettime(CLOCK_MONOTONIC) < $handler->[$LOOK_AT];
    my $is_own  = _is_here($handler->[$APPLICATION]);
    my $is_over = $is_own && EventSource::XS::Adapter->is_worker_ending(EventSource::XS::Adapter->of_caller);
    $handler->[$LOOK_AT] = clock_gettime(CLOCK_MONOTONIC) + ($is_over ? 0 : 1);
    EventSource::XS::_set_next_look($is_own ? $handler->[$LOOK_AT] : 0);
    $handler->[$STREAM]->end_with_retry if $is_over && $handler->[$STREAM]->is_open;
    return $is_over;
}

# The handler has returned, and something keeps its connection while this loop is loaded: perhaps a timer, which runs only while
# something runs the loop.
sub see_kept {
    my ($class, $stream, $loop) = @_;
    my ($env, $application) = @$running[$REQUEST, $APPLICATION];
    return if !_is_here($application) || $stream->_has_begun || !$stream->is_open;
    return if $application->{is_kept_seen}++ || !EventSource::XS->is_first_time("kept $application->{name}");
    my $name = $loop->name;
    $env->{'psgi.errors'}->print(
        "EventSource::XS: a handler of $application->{name} has returned and its connection is kept: on this server"
            . " no timer or watcher of $name runs now, so wait in the handler (\$conn->wait), or publish to an"
            . " EventSource::Hub\n");
    return;
}

# A push to the stream was refused.
sub see_refusal {
    my ($class, $stream) = @_;
    my $handler     = $running or return;
    my $application = $handler->[$APPLICATION];
    return if $handler->[$STREAM] != $stream || !_is_here($application);
    return if ($stream->_want_end || '') eq 'application';
    $handler->[$REFUSED_AT] ||= clock_gettime(CLOCK_MONOTONIC);
    return if clock_gettime(CLOCK_MONOTONIC) - $handler->[$REFUSED_AT] < $GONE_LIMIT || $handler->[$IS_REPORTED]++;
    return if !EventSource::XS->is_first_time("refused $application->{name}");
    $handler->[$REQUEST]{'psgi.errors'}
        ->print("EventSource::XS: a handler of $application->{name} occupies worker $$: it keeps"
            . " pushing to a client that left $GONE_LIMIT seconds ago; on_gone => 'unwind' ends it, $REMEDY\n");
    return;
}

# src/xs calls this in a push, when it is time to look.
sub unwind {
    die EventSource::Gone->new if __PACKAGE__->is_over;
    return;
}

# spawn => 1 has no effect on this stream.
sub warn_not_spawned {
    my ($class, $env, $component, $obstacle) = @_;
    my $name = _application($component)->{name};
    return if !EventSource::XS->is_first_time("not spawned $name $obstacle");
    $env->{'psgi.errors'}->print("EventSource::XS: a handler of $name runs in its worker in spite of spawn => 1:"
            . " $obstacle (NOT NATIVE in EventSource::Troubleshooting)\n");
    return;
}

# Private functions

# The name of a component with its place, and the line for a handler that has run for long, in this process.
sub _application {
    my $place = $_[0]{_place};
    my $name =
        'Plack::App::EventSource' . ($place && defined $place->{file} ? " at $place->{file} line $place->{line}" : '');
    my $line =
          "EventSource::XS: a handler of $name occupies worker $$: it has run for $LIMIT seconds, and nothing else is"
        . " served there meanwhile; $REMEDY\n";
    return {line => $line, name => $name, generation => EventSource::XS::_generation()};
}

sub _is_here { return $_[0]{generation} == EventSource::XS::_generation() }

1;
