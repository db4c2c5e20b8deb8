# The application of t/native: streams that outlive their handlers, and ordinary requests that push to them or end them. Its
# processes report to a journal, under the tag of the request.

use Testing::Application qw(answer parameter report tag);
use Plack::App::EventSource;
use Plack::Builder;
use POSIX ();

# The connections that are kept, by their tags.
my %KEPT;

# True while a push runs.
our $is_pushing = 0;    ## no critic (ProhibitPackageVars)

sub pushes {
    my ($conn, @messages) = @_;
    local $is_pushing = 1;
    return $conn->push(@messages);
}

sub report_close {
    my ($conn, $env) = @_;
    my $callback = sub {
        my ($same, $why) = @_;
        delete $KEPT{tag($env)};
        my @odd = $is_pushing ? 'inside a push' : ();
        push @odd, 'still open' if $same->is_open;

        # This would keep Feersum's connection, and its graceful stop would wait for it.
        push @odd, 'still held' if exists $env->{'psgix.output.guard'} && exists $env->{'psgix.io'};
        report($env, join ', ', "closed by $why", @odd);
    };
    $conn->on_close($callback);
    return;
}

sub source {
    my ($handler, %option) = @_;
    return Plack::App::EventSource->new(handler_cb => $handler, native => 1, %option)->to_app;
}

# Keeps its connection, and returns.
sub keep {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    $KEPT{tag($env)} = $conn;
    pushes($conn, "kept by $$");
    return;
}

# Pushes a text, or that many bytes, to all kept connections or to one.
sub push_to_kept {
    my $env   = shift;
    my $to    = parameter($env, 'to');
    my $text  = parameter($env, 'text');
    my $bytes = parameter($env, 'bytes');
    $text = 'x' x $bytes if defined $bytes;
    my @taken = map { pushes($_, $text) ? 1 : 0 } defined $to ? grep { defined } $KEPT{$to} : values %KEPT;
    return answer(join ' ', @taken);
}

# Closes a kept connection, or drops it.
sub end_kept {
    my $env  = shift;
    my $conn = delete $KEPT{parameter($env, 'to')} or return answer('unknown');
    $conn->close if $env->{PATH_INFO} eq '/close';
    return answer('gone');
}

# Pushes more than sockets hold, and closes at once.
sub backlog {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    for my $number (1 .. 128) { pushes($conn, {id => $number, data => '0123456789abcdef' x 4_096}) }
    $conn->close;
    report($env, 'closed');
    return;
}

# The stream ends with the handler on a server that blocks.
sub dropped { return pushes($_[0], 'foo') }

# Leaves the stream to a child. The child pushes when this process has left the handler, and ends as the query says.
sub child {
    my ($conn, $env) = @_;
    my $end = parameter($env, 'end');
    pushes($conn, "parent $_") for 1 .. 100;
    pipe my $returned, my $running or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    return if $pid;
    close $running;
    sysread $returned, my $nothing, 1;

    if ($end !~ /silent/) {
        pushes($conn, "child $_") or report($env, 'not taken') for 1 .. 100;
    }
    $conn->close    if $end =~ /close/;
    POSIX::_exit(0) if $end =~ /_exit/;
    exit;
}

my @pipes;
my %PROGRAM = (
    backticks => sub { qx{sleep 600 >/dev/null 2>&1 & echo \$!} },
    system    => sub {
        my $file = "$ENV{TESTING_JOURNAL}.pid";
        system "sleep 600 & echo \$! >$file";
        open my $lines, '<', $file or die "$file: $!";
        unlink $file;
        return scalar readline $lines;
    },
    pipe => sub { open $pipes[@pipes], '-|', 'sleep', 600 or die "sleep: $!" },
    exec => sub {
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) { exec 'sleep', 600 or POSIX::_exit(127) }
        return $pid;
    },
);

# Starts a program that outlives the handler, in the way that the query names.
sub program {
    my ($conn, $env) = @_;
    my $how = parameter($env, 'how');
    pushes($conn, 'before');
    my $pid = $PROGRAM{$how}->();
    chomp $pid;
    report($env, "program $pid");
    pushes($conn, 'after');
    $conn->close if $how ne 'system' || $env->{'psgi.nonblocking'};    # elsewhere dropping it has the same effect
    return;
}

my $stats = sub {
    my $stats = EventSource::XS->stats;
    my @pairs = map { ref $stats->{$_} ? () : "$_=$stats->{$_}" } sort keys %$stats;
    return answer(join ' ', @pairs, map { "closed.$_=$stats->{closed}{$_}" } sort keys %{$stats->{closed}});
};

builder {
    mount '/keep'     => source(\&keep);
    mount '/tell'     => \&push_to_kept;
    mount '/act'      => \&end_kept;
    mount '/backlog'  => source(\&backlog, max_buffered => 64 * 1_048_576);
    mount '/dropped'  => source(\&dropped);
    mount '/pid'      => sub { answer($$) };
    mount '/child'    => source(\&child);
    mount '/program'  => source(\&program);
    mount '/stats'    => $stats;
    mount '/dispatch' => sub { answer(EventSource::XS->dispatch) };
};
