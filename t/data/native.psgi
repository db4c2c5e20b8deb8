# The application behind t/native: streams that outlive their handlers, and ordinary requests that reach for them. What
# its processes see they tell to a journal, under the tag of the request.

use strict;
use warnings;

use Testing::Journal;
use Plack::App::EventSource;
use Plack::Builder;
use POSIX       ();
use Time::HiRes qw(sleep time);

my $PATIENCE = 20;      # seconds until a handler gives up on what should happen at once
my $PAUSE    = 0.01;    # seconds between two pushes of a handler that goes on

# The connections that are kept, by their tags.
my %KEPT;

# Whether a push runs now.
our $is_pushing = 0;    ## no critic (ProhibitPackageVars)

sub tag { return $_[0]{QUERY_STRING} =~ /\btag=([^&]+)/ ? $1 : 'none' }

sub parameter {
    my ($env, $name) = @_;
    return $env->{QUERY_STRING} =~ /\b\Q$name\E=([^&]+)/ ? $1 : undef;
}

sub report {
    my ($env, $text) = @_;
    Testing::Journal->open($ENV{NATIVE_JOURNAL})->write(tag($env), $text);
    return;
}

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

        # With this Feersum's connection would be held, for which its graceful stop waits.
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

sub plain {
    my $text = shift;
    return [200, ['Content-Type' => 'text/plain'], [$text]];
}

# Keeps its connection, and returns.
sub keep {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    $KEPT{tag($env)} = $conn;
    pushes($conn, "kept by $$");
    return;
}

# Pushes what it is asked to, to all that are kept or one of them; a text, or so many bytes.
sub tell {
    my $env   = shift;
    my $to    = parameter($env, 'to');
    my $text  = parameter($env, 'text');
    my $bytes = parameter($env, 'bytes');
    $text = 'x' x $bytes if defined $bytes;
    my @taken = map { pushes($_, $text) ? 1 : 0 } defined $to ? grep { defined } $KEPT{$to} : values %KEPT;
    return plain(join ' ', @taken);
}

# Closes, or lets go of, what is kept.
sub let_go {
    my $env  = shift;
    my $conn = delete $KEPT{parameter($env, 'to')} or return plain('unknown');
    $conn->close if $env->{PATH_INFO} eq '/close';
    return plain('gone');
}

# More than sockets hold, then its end, at once.
sub backlog {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    for my $number (1 .. 128) { pushes($conn, {id => $number, data => '0123456789abcdef' x 4_096}) }
    $conn->close;
    report($env, 'closed');
    return;
}

# Pushes and sleeps until it is told that its client has left, or is ended by that.
sub loop {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    my $deadline = time + $PATIENCE;
    my $returned = eval {
        while (time < $deadline) {
            if (!pushes($conn, 'tick')) {
                report($env, 'push: false, again: ' . (pushes($conn, 'late') ? 1 : 0));
                last;
            }
            sleep $PAUSE;
        }
        1;
    };
    report($env, 'handler ' . ($returned ? 'returned' : 'ended by ' . (ref $@ || $@)));
    die $@ if !$returned;
    return;
}

sub dies {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    pushes($conn, 'foo');
    die "on purpose\n";
}

sub dropped {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    pushes($conn, "foo $_") for 1 .. 100;
    return;
}

# Leaves the stream to a child, which begins to push when this process is out of the handler, and ends as it is told to.
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
        my $file = "$ENV{NATIVE_JOURNAL}.pid";
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

# Starts a program that outlives the handler, in the way that is asked for.
sub program {
    my ($conn, $env) = @_;
    my $how = parameter($env, 'how');
    pushes($conn, 'before');
    my $pid = $PROGRAM{$how}->();
    chomp $pid;
    report($env, "program $pid");
    pushes($conn, 'after');
    $conn->close if $how ne 'system' || $env->{'psgi.nonblocking'};    # to drop it is as good elsewhere
    return;
}

my $stats = sub {
    my $stats = EventSource::XS->stats;
    my @pairs = map { ref $stats->{$_} ? () : "$_=$stats->{$_}" } sort keys %$stats;
    return plain(join ' ', @pairs, map { "closed.$_=$stats->{closed}{$_}" } sort keys %{$stats->{closed}});
};

builder {
    mount '/keep'     => source(\&keep);
    mount '/tell'     => \&tell;
    mount '/act'      => \&let_go;
    mount '/backlog'  => source(\&backlog, max_buffered => 64 * 1_048_576);
    mount '/loop'     => source(\&loop);
    mount '/unwound'  => source(\&loop, on_gone => 'unwind');
    mount '/dies'     => source(\&dies);
    mount '/dropped'  => source(\&dropped);
    mount '/child'    => source(\&child);
    mount '/program'  => source(\&program);
    mount '/full'     => source(\&keep, max_streams => 1);
    mount '/pid'      => sub { plain($$) };
    mount '/stats'    => $stats;
    mount '/dispatch' => sub { plain(EventSource::XS->dispatch) };
};
