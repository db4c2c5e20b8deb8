package EventSource::XS::Hub::Readiness;
use strict;
use warnings;

# Finds out whether a hub without a process would work: the first worker starts one, if this user can. It starts nothing.

our $VERSION = '0.100';

use EventSource::Hub::Process;
use EventSource::XS::Settings;
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::IP;
use Scalar::Util qw(blessed);

use filetest 'access';    # a file system may be read-only

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my $TIMEOUT = 2;                                     # seconds
my %PORT    = (redis => 6379, sentinel => 26_379);

# Public methods

# Return why no hub process could begin here, as a clause, or undef if one could: the program is installed, the folder
# of socket can be written, and store answers within timeout seconds (above 0, fractions allowed, 2 by default). store is
# the text of EVENTSOURCE_STORE; by default it is memory. A file answers if it, or its folder, can be written; Redis and
# Sentinels if one of them answers PING, even by asking for a password, or with TLS accepts a connection.
sub problem {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('problem takes settings', @given);
    $SETTINGS->known(\%given, [qw(socket store timeout)]);
    $SETTINGS->seconds(timeout => $given{timeout}, is_above_zero => 1);
    return _without_program() || _folder($given{socket}) || _store($given{store}, $given{timeout} || $TIMEOUT);
}

# Private functions

sub _accepts_files {
    my $path = shift;
    return -e $path ? -w $path : -d dirname($path) && -w dirname($path);
}

# True if a server answers in its protocol, whether or not it wants a password first. With TLS it is enough that it accepts.
sub _answers {
    my ($is_tls, $host, $port, $timeout) = @_;
    my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => $timeout) or return !!0;
    return !!1 if $is_tls;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, "PING\r\n";
    return !!0 if !IO::Select->new($socket)->can_read($timeout) || !sysread $socket, my $answer, 1;
    return $answer =~ /[+-]/;
}

sub _folder {
    my $socket = shift;
    my $folder = dirname($socket);
    return -d $folder && -w $folder ? undef : "no process can start: $folder cannot be written";
}

# The store that a process would inherit, as its URL or path.
sub _store {
    my ($store, $timeout) = @_;
    return undef if !defined $store || $store !~ /\S/ || $store eq 'memory';
    if (my ($path) = $store =~ /\Afile:([^?]+)/) {
        return _accepts_files($path) ? undef : "no process can start: its store $path cannot be written";
    }
    my ($tls, $sentinel, $hosts) = $store =~ m{\Aredis(s?)(-sentinel)?://(?:[^/@]*@)?([^/?]+)}
        or return 'no process can start: EVENTSOURCE_STORE is not the URL of a store';
    my $default = $PORT{$sentinel ? 'sentinel' : 'redis'};
    for my $address (split /,/, $hosts) {
        my ($host, $port) = $address =~ /\A\[?(.+?)\]?(?::([0-9]+))?\z/ or next;
        return undef if _answers($tls, $host, $port || $default, $timeout);
    }
    return "its store does not answer: $hosts";
}

sub _without_program {
    local $@;
    return undef if eval { EventSource::Hub::Process->program; 1 };
    my $error = $@;
    return blessed $error && $error->isa('EventSource::Error') ? $error->message =~ s/\A[\w:]+: //r : "$error";
}

1;
