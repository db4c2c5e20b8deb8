package Testing::HostileServer;
use strict;
use warnings;

# A server that answers each request with what a test gives it, byte for byte, each connection in a process of its own. The
# server ends with the object, or with the process of the test.
#
#   my $server = hostile_server sub {
#       my ($client, $head, $number) = @_;        # a socket, the head of the request, the number of the request from 1 on
#       print {$client} "HTTP/1.1 200 OK\r\n\r\n";
#   };
#   $server->url('/events');
#   $server->requests;                            # the heads of all requests so far

use parent 'Testing::ControlledProcess';
use Exporter   qw(import);
use Fcntl      qw(LOCK_EX);
use File::Temp ();
use IO::Select ();
use POSIX      qw(WNOHANG);

our @EXPORT_OK = qw(hostile_server);

sub hostile_server {
    my $answer = shift;
    my $log    = File::Temp->new;
    my $listen = __PACKAGE__->listener;
    my $serve  = sub { _serve(shift, $listen, $log->filename, $answer) };
    return __PACKAGE__->launch($serve, log => $log, port => $listen->sockport);
}

sub requests {
    my $self = shift;
    open my $log, '<', $self->{log}->filename or die "$self->{log}: $!\n";
    local $/ = "\0";
    my @heads = readline $log;
    chomp @heads;
    return @heads;
}

sub url { return "http://127.0.0.1:$_[0]{port}$_[1]" }

sub _answer {
    my ($client, $path, $answer) = @_;
    my $head = '';
    while ($head !~ /\r\n\r\n\z/) { sysread $client, $head, 1, length $head or return }
    open my $log, '>>', $path or die "$path: $!\n";
    flock $log, LOCK_EX or die "$path: $!\n";
    print {$log} "$head\0";
    close $log;
    open $log, '<', $path or die "$path: $!\n";
    my $number = do { local $/ = "\0"; my @heads = readline $log; scalar @heads };
    $client->autoflush(1);
    return $answer->($client, $head, $number);
}

sub _serve {
    my ($control, $listen, $path, $answer) = @_;
    my %is_child;
    my $select = IO::Select->new($control, $listen);
    while (1) {
        my %is_ready = map { ($_ => 1) } $select->can_read;
        delete $is_child{$_} for grep { waitpid($_, WNOHANG) == $_ } keys %is_child;
        if ($is_ready{$control}) {
            kill KILL => keys %is_child;
            return;
        }
        my $client = $is_ready{$listen} && $listen->accept or next;              # a child that ends interrupts the wait
        defined(my $pid = fork)                            or die "fork: $!\n";
        if (!$pid) {
            close $control;
            eval { _answer($client, $path, $answer) };
            POSIX::_exit(0);
        }
        $is_child{$pid} = 1;
    }
    return;
}

1;
