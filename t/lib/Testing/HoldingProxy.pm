package Testing::HoldingProxy;
use strict;
use warnings;

# An HTTP proxy that treats streams as those of companies do. It listens on a port of 127.0.0.1, and has a process for each
# request. Processes end with the object.
#
#   my $proxy = Testing::HoldingProxy->start($server->port);
#   $proxy->set('holds');      # each response is passed on when it has ended
#   $proxy->set('refuses');    # a stream is answered with 501, but not a response that says that it ends (Preference-Applied)
#   $proxy->set('passes');
#   my @requests = $proxy->requests;    # their heads

use File::Temp ();
use IO::Select ();
use IO::Socket::INET;
use POSIX               ();
use Testing::SourceTree qw(slurp);

my $BYTES = 65_536;

# Public methods

sub port { return $_[0]{port} }

sub requests {
    my $self = shift;
    return map { slurp($_) } sort glob "$self->{folder}/request.*";
}

# How the next requests are treated.
sub set {
    my ($self, $how) = @_;
    open my $file, '>', "$self->{folder}/new" or die "$self->{folder}: $!\n";
    print {$file} $how;
    close $file or die "$self->{folder}: $!\n";
    rename "$self->{folder}/new" => "$self->{folder}/how" or die "$self->{folder}: $!\n";
    return;
}

sub start {
    my ($class, $port) = @_;
    my $listener = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die "listen: $!\n";
    my $self     = bless {folder => File::Temp->newdir, port => $listener->sockport}, $class;
    $self->set('passes');
    $self->{pid} = fork // die "fork: $!\n";
    if (!$self->{pid}) {
        setpgrp;
        local $SIG{CHLD} = 'IGNORE';
        for (my $number = 1; my $client = $listener->accept; $number++) {
            next if fork;
            close $listener;
            eval { $self->_serve($client, $port, $number) };
            POSIX::_exit(0);
        }
        POSIX::_exit(0);
    }
    close $listener;
    return $self;
}

sub DESTROY {
    my $self = shift;
    return if !$self->{pid};
    local ($@, $?);
    kill KILL => -$self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

# Private methods

sub _serve {
    my ($self, $client, $port, $number) = @_;
    my $head = _head($client) // return;
    open my $log, '>', sprintf "%s/request.%06d", $self->{folder}, $number or die "request: $!\n";
    print {$log} $head;
    close $log;
    my $how    = slurp("$self->{folder}/how");
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return;
    $head =~ s/^Connection:.*\r\n//mi;
    syswrite $server, $head =~ s/\r\n/\r\nConnection: close\r\n/r;
    my $said = _head($server) // return;
    $said =~ s/^Connection:.*\r\n//mi;
    $said =~ s/\r\n/\r\nConnection: close\r\n/;

    if ($how eq 'refuses' && $said =~ m{^Content-Type: text/event-stream}mi && $said !~ /^Preference-Applied:.*wait=/mi)
    {
        close $server;
        return syswrite $client, "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n"
            . "Proxy-Status: proxy; error=incremental_refused\r\n\r\n";
    }
    my $held   = $said;
    my $select = IO::Select->new($client, $server);
    while (1) {
        if ($how ne 'holds' && length $held) {
            defined syswrite $client, $held or return;
            $held = '';
        }
        for my $ready ($select->can_read) {
            my $count = sysread($ready, my $bytes, $BYTES);
            if ($ready == $client) { $count ? next : return }
            if (!$count)           { syswrite $client, $held if length $held; return }
            $held .= $bytes;
        }
    }
    return;
}

# Private functions

# Returns the head of a message; requests have no body here.
sub _head {
    my $socket = shift;
    my $head   = '';
    while ($head !~ /\r\n\r\n\z/) { sysread $socket, $head, 1, length $head or return undef }
    return $head;
}

1;
