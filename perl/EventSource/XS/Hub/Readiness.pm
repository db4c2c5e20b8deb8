package EventSource::XS::Hub::Readiness;
use strict;
use warnings;

# Finds out whether a hub without a process would work: the first worker starts one, if this user can. It starts nothing.

use EventSource::Error;
use EventSource::Hub::Process;
use EventSource::XS::TCPConnection;
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::IP;

use filetest 'access';    # a file system may be read-only

my $TIMEOUT = 2;          # seconds

# Public methods

# Return why no hub process could begin here, as a clause, or undef if one could: the program is installed, the folder
# of its socket can be written, and its store answers within timeout seconds (above 0, fractions allowed, 2 by default): the
# one of EVENTSOURCE_STORE, or that objects have named before. A file answers if it, or its folder, can be written; Redis and
# Sentinels if one of them answers PING, even by asking for a password, or with TLS accepts a connection. path is that of the
# socket; name, and socket if it was given, are those of the hub.
# is_known, a reference to a scalar, is set to whether this user has used the hub before: its settings are kept, or the log of a
# process that was stopped.
sub problem {
    my ($class, %given) = @_;
    return _without_program() || _folder($given{path}) || _store($given{timeout} || $TIMEOUT, %given);
}

# Private functions

sub _accepts_files {
    my $path = shift;
    return -e $path ? -w $path : -d dirname($path) && -w dirname($path);
}

# True if a server answers in its protocol, whether or not it wants a password first. With TLS it is enough that it accepts.
sub _answers {
    my ($is_tls, $address, $timeout) = @_;
    my ($socket) = EventSource::XS::TCPConnection->connect(IO::Socket::IP->split_addr($address), $timeout);
    return !!0 if !$socket;
    return !!1 if $is_tls;
    local $SIG{PIPE} = 'IGNORE';
    binmode $socket;    # as in EventSource::XS::SocketPair
    syswrite $socket, "PING\r\n";
    return !!0 if !IO::Select->new($socket)->can_read($timeout) || !sysread $socket, my $answer, 1;
    return $answer =~ /[+-]/;
}

sub _folder {
    my $socket = shift;
    my $folder = dirname($socket);
    return -d $folder && -w $folder ? undef : "no process can start: $folder cannot be written";
}

# The message of a call that throws.
sub _message_of { return EventSource::Error->own(shift)->message =~ s/\A[\w:]+: //r }

sub _store {
    my ($timeout, %hub) = @_;
    my @given = ($hub{name}, $hub{socket}, $ENV{EVENTSOURCE_STORE});
    local $SIG{__DIE__};
    my ($is_known, $kind, @at) = eval { EventSource::Hub::Process->_call('first_store', @given) }
        or return 'no process can start: ' . _message_of($@);
    ${$hub{is_known}} = length $is_known || -e "$hub{path}.log" if $hub{is_known};
    return undef                                                if $kind eq 'memory';
    my $origin =
        length($ENV{EVENTSOURCE_STORE} // '')
        ? ' (EVENTSOURCE_STORE)'
        : " (named before: eventsource hub stop $hub{name} forgets it)";
    if ($kind eq 'file') {
        return _accepts_files($at[0]) ? undef : "no process can start: its store $at[0] cannot be written$origin";
    }
    return undef if grep { _answers($kind eq 'rediss', $_, $timeout) } @at;
    return 'its store does not answer: ' . join(',', @at) . $origin;
}

sub _without_program {
    local ($@, $SIG{__DIE__});
    return eval { EventSource::Hub::Process->program; 1 } ? undef : _message_of($@);
}

1;
