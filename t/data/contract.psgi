# The application behind the contract (t/lib/Testing/Contract.pm): one path for one behaviour. What a handler sees it tells to a
# journal, a file, under the tag of the request that it serves, so that it does not matter which process it runs in.

use strict;
use warnings;

use Testing::Contract::Source;
use Fcntl qw(O_APPEND O_WRONLY);
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Util ();
use POSIX       ();
use Time::HiRes qw(sleep time);

my $PATIENCE = 20;      # seconds until a handler gives up on what should happen at once
my $PAUSE    = 0.01;    # seconds between two pushes of a handler that goes on

sub tag { return $_[0]{QUERY_STRING} =~ /\btag=([^&]+)/ ? $1 : 'none' }

# A journal that is gone is not made anew: a server may outlive its test by a moment.
sub report {
    my ($env, $text) = @_;
    my $file = $ENV{CONTRACT_JOURNAL} or die "CONTRACT_JOURNAL does not name a file\n";
    sysopen my $journal, $file, O_WRONLY | O_APPEND or die "$file: $!\n";
    syswrite $journal, tag($env) . " $text\n";
    close $journal;
    return;
}

sub told {
    my $pattern = shift;
    open my $journal, '<', $ENV{CONTRACT_JOURNAL} or return;
    return scalar grep { $_ =~ $pattern } readline $journal;
}

# Does a thing again and again until it returns false, in whichever way suits the server.
sub repeat {
    my ($env, $code) = @_;
    my $deadline = time + $PATIENCE;
    my $again    = sub {
        return $code->() if time < $deadline;
        report($env, 'gave up');
        return;
    };
    if (!$env->{'psgi.nonblocking'}) {
        sleep $PAUSE while $again->();
        return;
    }
    my $timer;
    my $tick = sub { $again->() || undef $timer };
    $timer = exists $env->{'psgix.output.guard'} ? EV::timer($PAUSE, $PAUSE, $tick) : AE::timer($PAUSE, $PAUSE, $tick);
    return;
}

# An application around a handler, in the mode that the contract runs in. There is a filter in some rows, so that native
# streams cannot be insisted on.
sub source {
    my ($handler, %option) = @_;
    $option{native} = $ENV{CONTRACT_NATIVE} ? 'auto' : 0 if Plack::App::EventSource->can('native');
    return Plack::App::EventSource->new(handler_cb => $handler, %option);
}

# A handler that pushes what it is given, each list in a push of its own, and closes.
sub pushing {
    my @pushes = @_;
    return sub {
        my $conn = shift;
        $conn->push(@$_) for @pushes;
        $conn->close;
        return;
    };
}

sub report_close {
    my ($conn, $env) = @_;
    $conn->on_close(sub { report($env, "closed by $_[1], open: " . ($_[0]->is_open ? 1 : 0)) });
    return;
}

# More than the sockets between us and a client hold, one block after the other.
sub flood {
    my ($conn, $env) = @_;
    for my $number (1 .. 384) {
        $conn->push({id => $number, data => '0123456789abcdef' x 4_096}) or last;
        report($env, "pushed $number") if $number == 384;
    }
    $conn->close;
    return;
}

# Pushes until the client has left, and tells what push had to say.
sub tick {
    my ($conn, $env) = @_;
    my $count = 0;
    report_close($conn, $env);
    repeat(
        $env,
        sub {
            my $taken = eval { $conn->push('tick ' . ++$count) ? 'true' : 'false' };
            $taken = "died: $@" if !defined $taken;
            return 1 if $taken eq 'true';
            report($env, "push: $taken");
            report($env, 'is_open: ' . ($conn->is_open ? 1 : 0) . ', push again: ' . ($conn->push('late') ? 1 : 0));
            return;
        }
    );
    return;
}

# Pushes only when the test says that it has seen the head.
sub silent {
    my ($conn, $env) = @_;
    repeat(
        $env,
        sub {
            return 1 if !told(qr/\A\Q${\tag($env)}\E the head is here/);
            $conn->push('foo');
            $conn->close;
            return;
        }
    );
    return;
}

# Waits without a push until the connection says that the client has left.
sub watch {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    $conn->push('watching');
    repeat($env, sub { $conn->is_open });
    return;
}

# Pushes until the push itself ends the handler, or does not.
sub unwound {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    my $go_on = sub {
        return 1 if $conn->push('tick');
        report($env, 'push returned false');
        return;
    };
    my $returned = eval { repeat($env, $go_on); 1 };
    report($env, 'handler ' . ($returned ? 'returned' : 'ended by ' . (ref $@ || $@)));
    die $@ if !$returned;
    return;
}

# Leaves the stream to a child, which begins to push when this process is out of the handler.
sub fork_child {
    my ($conn, $env) = @_;
    pipe my $returned, my $running or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $running;
        readline $returned;
        for my $count (1 .. 5) {
            $conn->push("child $count");
            sleep $PAUSE;
        }
        $conn->close;
        POSIX::_exit(0);
    }
    return;
}

# Pushes an event when the test has seen the one before.
sub one_by_one {
    my ($conn, $env) = @_;
    my $count = 0;
    $conn->push('event 0');
    repeat(
        $env,
        sub {
            return 1                                if !told(qr/\A\Q${\tag($env)}\E event $count is here/);
            return $conn->push('event ' . ++$count) if $count < 5;
            $conn->close;
            return;
        }
    );
    return;
}

# Says that it is open, and what follows only when the test has told it to.
sub together {
    my ($conn, $env) = @_;
    my $all = tag($env) =~ s/-.*//r;
    $conn->push('open');
    repeat(
        $env,
        sub {
            return 1 if !told(qr/\A\Q$all\E all are open/);
            $conn->push('all');
            $conn->close;
            return;
        }
    );
    return;
}

# An id that cannot be written: the push croaks, nothing of it is sent.
sub bad_id {
    my ($conn, $env) = @_;
    my $lived = eval { $conn->push('before', {id => "1\ndata: smuggled", data => 'x'}); 1 };
    report($env, $lived ? 'push lived' : "push croaked: $@");
    $conn->push('after');
    $conn->close;
    return;
}

# The id that the client sent, which is characters.
sub last_id {
    my $conn = shift;
    my $id   = $conn->last_event_id;
    $conn->push(defined $id ? ($id, length($id) . ' characters') : 'none');
    $conn->close;
    return;
}

# What a connection says of itself before and after its end.
sub close_twice {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    my @said = ($conn->is_open, $conn->push('only'));
    $conn->close;
    $conn->close;
    push @said, $conn->is_open, $conn->push('never');
    report($env, 'said ' . join ' ', map { $_ ? 'true' : 'false' } @said);
    return;
}

# Tells what its stream stands on: one that was taken over from the server, or the server's writer.
sub foundation {
    my $conn = shift;
    $conn->push($conn->can('is_native') && $conn->is_native ? 'native' : 'writer');
    $conn->push('and goes on');
    $conn->close;
    return;
}

# Middleware that calls its application with a copy of the environment.
sub copied {
    my $app = shift;
    return sub { return $app->({%{$_[0]}}) };
}

# Copies the environment while the stream is open, and when it has ended.
sub copying {
    my ($conn, $env) = @_;
    my $copy = sub {
        my %copy = %$env;
        report($env, "$_[0], of " . ($copy{REQUEST_METHOD} || 'nothing'));
        return;
    };
    $conn->on_close(sub { $copy->('copied when closed') });
    $conn->push('foo');
    $copy->('copied when open');
    $conn->push('bar');
    $conn->close;
    return;
}

# Middleware that sets one header and appends another.
sub add_headers {
    my $app = shift;
    return sub {
        return Plack::Util::response_cb(
            $app->($_[0]),
            sub {
                my $response = shift;
                Plack::Util::header_set($response->[1], 'X-Set', 'on the way out');
                Plack::Util::header_push($response->[1], 'X-App', 'also');
                return;
            }
        );
    };
}

# Where a handler cannot wait for its reader, as much as it pushes has to find room.
sub patient {
    my $handler = shift;
    my $waits   = source($handler)->to_app;
    my $buffers = source($handler, max_buffered => 64 * 1_048_576)->to_app;
    return sub { $_[0]{'psgi.nonblocking'} ? $buffers->(@_) : $waits->(@_) };
}

my @MEGABYTE = ('0123456789abcdef' x 65_536);
my $CHANGING = source(pushing(['foo']), headers => ['X-State' => 'as built']);

# Where the application is mounted: as it was called, and as its handler sees it.
my $PLACE = source(
    sub {
        my ($conn, $env) = @_;
        $conn->push("called at $env->{'contract.place'}", "handled at $env->{SCRIPT_NAME} $env->{PATH_INFO}");
        $conn->close;
        return;
    }
)->to_app;
my $placed = sub {
    my $env = shift;
    $env->{'contract.place'} = "$env->{SCRIPT_NAME} $env->{PATH_INFO}";
    return $PLACE->($env);
};

# What a source may stand behind, with its arguments.
my %BEHIND = (
    'AccessLog'           => [logger => sub { }],
    'AccessLog::Timed'    => [logger => sub { }],
    'Chunked'             => [],
    'ConditionalGET'      => [],
    'ContentLength'       => [],
    'Deflater'            => [content_type => 'text/event-stream'],
    'ErrorDocument'       => [404          => '/nowhere'],
    'HTTPExceptions'      => [],
    'Head'                => [],
    'JSONP'               => [],
    'Lint'                => [],
    'ReverseProxy'        => [],
    'Runtime'             => [],
    'SimpleContentFilter' => [filter          => sub { }],
    'StackTrace'          => [no_print_errors => 1],
);

my $app = builder {
    mount '/one'         => source(pushing(['foo']))->to_app;
    mount '/many'        => source(pushing(map { ["event $_"] } 1 .. 100))->to_app;
    mount '/hash'        => source(pushing([{event => 'e', id => 'i', retry => 5, data => 'd'}]))->to_app;
    mount '/list'        => source(pushing(['foo', {id => 7, data => 'bar'}, 'baz']))->to_app;
    mount '/several'     => source(pushing(['a'], [{data => 'b', event => 'e'}], ['c']))->to_app;
    mount '/flood'       => patient(\&flood);
    mount '/megabyte'    => patient(pushing([@MEGABYTE], ['after']));
    mount '/latin1'      => source(pushing(["caf\xe9"]))->to_app;
    mount '/wide'        => source(pushing(["\x{263a}"]))->to_app;
    mount '/bytes'       => source(pushing(["caf\xc3\xa9"]))->to_app;
    mount '/characters'  => source(pushing(["caf\xc3\xa9"]), characters => 1)->to_app;
    mount '/lines'       => source(pushing(["a\nb\r\nc\rd"]))->to_app;
    mount '/zero'        => source(pushing([0], [{data => 0}]))->to_app;
    mount '/bad-id'      => source(\&bad_id)->to_app;
    mount '/close'       => source(\&close_twice)->to_app;
    mount '/dropped'     => source(sub { report_close(@_); $_[0]->push('foo'); return })->to_app;
    mount '/tick'        => source(\&tick)->to_app;
    mount '/watch'       => source(\&watch)->to_app;
    mount '/silent'      => source(\&silent)->to_app;
    mount '/unwound'     => source(\&unwound, on_gone => 'unwind')->to_app;
    mount '/dies'        => source(sub { report_close(@_); $_[0]->push('foo'); die "on purpose\n" })->to_app;
    mount '/program'     => source(sub { report_close(@_); $_[0]->push('foo'); system 'true'; return })->to_app;
    mount '/fork'        => source(\&fork_child)->to_app;
    mount '/together'    => source(\&together)->to_app;
    mount '/retry'       => source(pushing(['foo']), retry    => 2_500)->to_app;
    mount '/retry-exact' => source(pushing(['foo']), retry    => [2_500, 2_500])->to_app;
    mount '/preamble'    => source(pushing(['foo']), preamble => 2_048)->to_app;
    mount '/last-id'     => source(\&last_id)->to_app;
    mount '/own-headers' => source(pushing(['foo']), headers => ['X-App' => 'yes', 'Set-Cookie' => 'a=b'])->to_app;
    mount '/buffering'   => source(pushing(['foo']), headers => ['x-ACCEL-buffering' => 'yes'])->to_app;
    mount '/changing'    => $CHANGING->to_app;
    mount '/subclass'    => Testing::Contract::Source->new(greeting => 'hello')->to_app;
    mount '/mounted'     => builder { mount '/deeper' => $placed };
    mount '/wrapped'     => builder {
        enable 'ConditionalGET';
        enable 'ContentLength';
        enable 'Runtime';
        enable 'AccessLog', logger => sub { };
        enable \&add_headers;
        source(pushing(['foo']), headers => ['X-App' => 'yes'])->to_app;
    };
    mount '/one-by-one' => source(\&one_by_one)->to_app;
    mount '/copying'    => source(\&copying)->to_app;
    mount '/foundation' => builder {
        for my $name (keys %BEHIND) {
            my $class = eval { Plack::Util::load_class($name, 'Plack::Middleware') } or next;   # not everybody has each
            mount "/$name" => $class->wrap(source(\&foundation)->to_app, @{$BEHIND{$name}});
        }
        mount '/copied' => copied(source(\&foundation)->to_app);
        mount '/plain'  => source(\&foundation)->to_app;
    };
    mount '/held' => builder {
        enable 'SimpleContentFilter', filter => sub { };
        source(sub { report_close(@_); $_[0]->push('watching'); return })->to_app;
    };
    mount '/filtered' => builder {
        enable 'SimpleContentFilter', filter => sub { $_ = uc };
        source(pushing(['foo'], ['bar']))->to_app;
    };
    mount '/plain' => sub { return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 5], ['plain']] };
};

$CHANGING->headers(['X-State' => 'changed later']);
$app;
