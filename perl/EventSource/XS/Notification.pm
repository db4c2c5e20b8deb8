package EventSource::XS::Notification;
use strict;
use warnings;

# Tells an idle worker that streams have ended, so that it runs their callbacks: by a descriptor for event loops, or by a signal
# to itself.

use Config;
use EventSource::XS::Adapter;
use EventSource::XS::ErrorLog;
use EventSource::XS::Library;
use EventSource::XS::Settings;
use EventSource::XS::Stream::Native;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::XS');

# The signal of notify_signal and its handler. No program gives another meaning to these signals by itself. And the process that
# has asked whether its server bears the signal.
my ($signal, $on_signal);
my $has_asked_server = 0;
my %MAY_NOTIFY       = map { ($_ => 1) } qw(URG USR1 USR2 WINCH IO RTMIN RTMAX), map { "NUM$_" } 34 .. 64;

# Public methods

sub descriptor {
    $SETTINGS->throw(unsupported => 'there are no native streams on this system')
        if !EventSource::XS->can('_notify_descriptor');
    my $number = EventSource::XS::Stream::Native->notify_number;
    $SETTINGS->throw(unavailable => "there is no descriptor for notify_fd: $!") if !defined $number;
    return $number;
}

# A server is known at its first request. One that may take an interrupted read for an error is sent no signal.
sub see_request {
    my ($class, $env) = @_;
    return if !defined $signal || $has_asked_server == $$;
    $has_asked_server = $$;
    return if $env->{'psgi.nonblocking'};
    my ($adapter) = EventSource::XS::Adapter->of_caller;
    $adapter ||= EventSource::XS::Adapter->of_env($env);
    return if $adapter->bears_signals($env);
    EventSource::XS::Stream::Native->notify_by_signal(0);
    EventSource::XS::ErrorLog->warn('EventSource::XS: notify_signal sends no signal on this server ('
            . $adapter->name
            . "), which may take an interrupted read for an error; callbacks of an idle worker run at its next request\n"
    );
    return;
}

# Takes the name of a signal, or undef for none, and the handler, which is always the same.
sub send_signal {
    my ($class, $name, $handler) = @_;
    _check_signal($name);
    if (defined $signal && !(defined $name && $name eq $signal)) {
        EventSource::XS::Stream::Native->notify_by_signal(0);
        $SIG{$signal} = 'DEFAULT' if _is_handler($SIG{$signal});
        $signal = undef;
    }
    return if !defined $name;
    $on_signal = $handler;
    $SIG{$name} = $on_signal;    ## no critic (RequireLocalizedPunctuationVars) for good
    my $number    = _signal_number($name);
    my $has_timer = EventSource::XS::Adapter->run_in_idle_workers($number, $on_signal);
    EventSource::XS::Stream::Native->notify_by_signal($has_timer ? 0 : $number);
    ($signal, $has_asked_server) = ($name, 0);
    EventSource::XS::Adapter->see_next_request;
    return;
}

# Private functions

# Throws an exception unless the process may be sent a signal as a notification.
sub _check_signal {
    my $name = shift;
    $SETTINGS->throw(unsupported => 'notify_signal needs native streams and the safe signals of perl')
        if !EventSource::XS->can('_set_end_signal') || ($ENV{PERL_SIGNALS} || '') eq 'unsafe';
    return if !defined $name;
    $SETTINGS->refuse(signal => 'notify_signal takes the name of a signal: URG, USR1, USR2, WINCH, IO or a real-time'
            . " signal, such as RTMIN; not $name")
        if !$MAY_NOTIFY{$name} || !defined _signal_number($name);
    $SETTINGS->throw(state => "this process has a handler of SIG$name already: choose another signal", 'signal')
        if !_is_handler($SIG{$name}) && _has_handler($name);
    return;
}

# True if a signal has a handler: of the application, or of a library in C.
sub _has_handler {
    my $name = shift;
    return !!1 if defined $SIG{$name} && $SIG{$name} !~ /\A(?:|DEFAULT|IGNORE)\z/;
    return EventSource::XS::_signal_action(_signal_number($name)) > 1;
}

# True for our own handler.
sub _is_handler {
    my $handler = shift;
    return !!($on_signal && ref $handler && $handler == $on_signal);
}

sub _signal_number {
    my $name    = shift;
    my @names   = split ' ', $Config{sig_name};
    my ($index) = grep { $names[$_] eq $name } 0 .. $#names;
    return defined $index ? (split ' ', $Config{sig_num})[$index] : undef;
}

1;
