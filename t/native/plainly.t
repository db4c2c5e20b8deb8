# The takeover of a plain request does what one with the server's adapter does: the client receives the same bytes, the server
# has the same descriptor afterwards, and the caller gets the same obstacle or exception.

use lib 't/lib';
use Testing         qw(native);
use EventSource::XS ();
use EventSource::XS::Stream;
use IO::Handle;
use Plack::Util;
use POSIX       ();
use Socket      qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Time::HiRes qw(sleep);

my @HEADERS = ('Content-Type'      => 'text/event-stream', 'X-Test' => 'yes');
my @CHUNKED = ('Transfer-Encoding' => 'chunked');

sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0] }

# The writer of a known server whose class may be wrapped: it is probed in one step, too.
sub in_class {
    my %code = @_;
    return bless {%code}, 'Twiggy::Writer';
}

# Servers by what they write, and other special cases. Each code gets the request's handle and changes what it likes.
my %CASE = (
    'a plain server'                 => {},
    'HTTP/1.0'                       => {env  => {SERVER_PROTOCOL => 'HTTP/1.0'}},
    'a server that writes chunks'    => {body => \&chunk, headers => \@CHUNKED},
    'chunks to an unknown version'   => {body => \&chunk, headers => \@CHUNKED, env => {SERVER_PROTOCOL => 'HTTP/1.x'}},
    'a length'                       => {headers  => ['Content-Length' => 1_000]},
    'an event loop'                  => {env      => {'psgi.nonblocking' => 1}},
    'a value with overloading'       => {env      => {'psgi.nonblocking' => bless [], 'Overloaded'}},
    'an opening'                     => {opening  => ": opening\r\n"},
    'lines that end in LF'           => {settings => [line_end => 'lf']},
    'no request method'              => {env      => {REQUEST_METHOD      => undef}},
    'several threads'                => {env      => {'psgi.multithread'  => 1}},
    'several processes'              => {env      => {'psgi.multiprocess' => 1}},
    'HEAD'                           => {env      => {REQUEST_METHOD      => 'HEAD'}},
    'a body that is filtered'        => {body     => sub { uc $_[0] }, writer => \&in_class},
    'a status of the server\'s own'  => {head     => sub { $_[0] =~ s/200 OK/404 Not Found/r }},
    'half a head'                    => {head     => sub { substr $_[0], 0, 20 }},
    'an unknown writer'              => {writer   => sub { my %code = @_; bless {%code}, 'Unknown::Writer' }},
    'no writer'                      => {writer   => sub { undef }},
    'a writer in a wrapped class'    => {writer   => \&in_class},
    'a large head'                   => {headers  => ['X-Large'     => 'x' x 40_000]},
    'a header that is undefined'     => {headers  => ['X-Undefined' => undef]},
    'a header that is an object'     => {headers  => ['X-Object'    => bless [], 'Overloaded']},
    'a responder that dies'          => {dies     => 'respond'},
    'a writer that dies'             => {dies     => 'write', writer => \&in_class},
    'a writer that dies when closed' => {dies     => 'close'},
    'no handle'                      => {io       => sub { undef }},
    'a closed handle'                => {io       => sub { my $io = shift; close $io; $io }},
    'a file'                         => {io       => sub { open my $file, '+<', '/dev/null' or die; $file }},
    'a tied handle'                  => {io       => sub { my $io = shift; tie *$io, 'Tied', fileno $io; $io }},
    'a class that may encrypt'  => {io => sub { bless shift,                                          'My::SSL' }},
    'an ordinary class'         => {io => sub { bless shift,                                          'IO::Handle' }},
    'a class with a protocol'   => {io => sub { bless shift,                                          'My::TCP' }},
    'an object with a protocol' => {io => sub { my $io = shift; ${*$io}{protocol} = 'SSL'; bless $io, 'My::Proto' }},
);

package Overloaded {
    use overload '""' => sub { 'text' }, 'bool' => sub { 1 }, fallback => 1;
}

package Unknown::Writer {
    sub write { return $_[0]{write}->($_[1]) }
    sub close { return $_[0]{close}->() }
}

package Twiggy::Writer {
    no warnings 'redefine';
    sub write { return $_[0]{write}->($_[1]) }
    sub close { return $_[0]{close}->() }
}

package My::SSL { our @ISA = 'IO::Handle' }

# Classes like those of Net::Server, which name their protocol.
package My::TCP {
    our @ISA = 'IO::Handle';
    sub NS_proto { return 'TCP' }
}

package My::Proto {
    our @ISA = 'IO::Handle';
    sub NS_proto { my $self = shift; return ${*$self}{protocol} }
}

package Tied {
    sub TIEHANDLE { return bless [$_[1]], $_[0] }
    sub FILENO    { return $_[0][0] }
}

# The writer of a known server.
package Starman::Server {

    sub writer {
        my %code = @_;
        return Plack::Util::inline_object(write => sub { $code{write}->(@_) }, close => sub { $code{close}->() });
    }
}

# Responds as the case says, and returns all that can be seen.
sub seen {
    my ($case, $plainly) = @_;
    local $EventSource::XS::Stream::TAKES_PLAINLY = $plainly;
    socketpair my $server, my $client, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $number = fileno $server;
    my $keep   = $server;
    my $io     = $case->{io} ? $case->{io}->($server) : $server;
    my $log    = '';
    open my $errors, '>', \$log or die;
    my %env = (
        REQUEST_METHOD    => 'GET',
        SERVER_PROTOCOL   => 'HTTP/1.1',
        'psgi.errors'     => $errors,
        'psgi.url_scheme' => 'http',
        'psgix.io'        => $io,
        %{$case->{env} || {}}
    );
    no warnings 'closed';
    my $write = sub { defined syswrite $server, $_[0] or $case->{io} or die "write: $!\n" };
    my $dies  = $case->{dies} || '';
    my $is_probe;
    my %code = (
        write => sub { die "write\n" if $dies eq 'write'; $write->($case->{body} ? $case->{body}->($_[0]) : $_[0]) },
        close => sub { die "close\n" if $dies eq 'close'; $write->('THE END') },
    );
    my $respond = sub {
        my $response = shift;
        die "respond\n" if $dies eq 'respond';
        no warnings 'uninitialized';
        my @lines = map { "$response->[1][2 * $_]: $response->[1][2 * $_ + 1]" } 0 .. $#{$response->[1]} / 2;
        my $head  = join "\r\n", "HTTP/1.1 $response->[0] OK", @lines, '', '';
        $write->($case->{head} ? $case->{head}->($head) : $head);
        return ($case->{writer} || \&Starman::Server::writer)->(%code);
    };
    my $response = [200, [@HEADERS, @{$case->{headers} || []}]];
    my @settings = (native => 'quiet', linger => 0, keepalive => 0, @{$case->{settings} || []});
    my ($stream, $obstacle) =
        eval { EventSource::XS::Stream->open(\%env, $respond, $response, $case->{opening} || '', @settings); };
    my $died = $@;
    my $text = defined $number && -e "/proc/self/fd/$number" ? readlink "/proc/self/fd/$number" : 'none';
    $stream->write("data: x\n\n") if $stream;
    $stream->close                if $stream;
    undef $stream;
    undef $_ for $io, $server, $keep, $env{'psgix.io'};
    undef $respond;
    undef $_ for $write, %code;
    $client->blocking(0);
    my ($bytes, $until) = ('', time + 10);

    while (time < $until) {
        my $count = sysread $client, $bytes, 65_536, length $bytes;
        last       if defined $count && !$count;
        sleep 0.01 if !defined $count;
    }
    return {
        bytes    => $bytes,
        died     => $died,
        obstacle => defined $obstacle ? "$obstacle" : undef,
        left     => $text =~ s/\d+//gr
    };
}

# The first takeover of a process is one with the adapter.
seen($_, 0) for { }
, $CASE{'an event loop'};

for my $name (sort keys %CASE) {
    my $case = $CASE{$name};
    my ($by_adapter, $plainly, $again) = map { seen($case, $_) } 0, 1, 1;
    is_deeply $plainly, $by_adapter, "$name: as with the adapter" or diag explain $plainly, $by_adapter;
    is_deeply $again, $by_adapter, "$name: again";
}

# The comparison means nothing if one of the two is never used.
{
    my ($begun, $finished) = (0, 0);
    my $begin   = EventSource::XS::Stream::Takeover->can('begin');
    my $plainly = EventSource::XS::Stream::Native->can('_begin');
    no warnings 'redefine';
    local *EventSource::XS::Stream::Takeover::begin = sub { $begun++; goto &$begin };
    local *EventSource::XS::Stream::Native::_begin =
        sub { my @got = $plainly->(@_); $finished++ if $got[0] && @_ == 7; return @got };
    seen({}, 0);
    is "$begun $finished", '1 0', 'the adapter is asked';
    seen({}, 1);
    is "$begun $finished", '1 1', 'not for a plain request';
    seen($CASE{'a class with a protocol'}, 1);
    is "$begun $finished", '1 2', 'nor does one of a class that names a protocol for all its objects';
    seen({io => sub { my $io = shift; ${*$io}{protocol} = 'TCP'; bless $io, 'My::Proto' }}, 1);
    is "$begun $finished", '2 2', 'for one whose object names a protocol it is';
    my $probed = 0;
    my %server = (body => sub { $probed++; $_[0] });
    seen(\%server, 1);
    is $probed, 0, 'the code of a known server is not probed';
    seen({%server, writer => \&in_class}, 1);
    is $probed, 1, 'a method is';
}

# The server is told that the connection is not kept, as with the adapter: of a stream on a server that blocks. Nobody sees what
# that code dies of.
{
    my ($server, @told, $died) = ({});
    my $handler = sub { $died++ };
    local EventSource::XS::Adapter->plain->{end_keep_alive} =
        [sub { push @told, [@_]; die "keep\n" }, 'The::Adapter', $server];
    local $SIG{__DIE__} = $handler;
    my $got = seen({}, 1);
    is_deeply [$told[0][0], $told[0][1] == $server, $told[0][2]{REQUEST_METHOD}], ['The::Adapter', !!1, 'GET'],
        'the adapter is told of a takeover, with the server and the request';
    seen($CASE{'an event loop'}, 1);
    is_deeply [scalar @told, $died, $got->{died}], [1, undef, ''],
        'once, under an event loop not at all; what it dies of is dropped';
}

# No takeover begins without an adapter for what that is to see: requests of servers that are known by the environment, what is
# noted of a server once, and a process that has not been noted.
{
    my $begins = sub {
        my %env = (REQUEST_METHOD => 'GET', 'psgi.errors' => \*STDERR, @_);
        socketpair $env{'psgix.io'}, my $client, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
        my $native  = EventSource::XS::Stream::Native->shared_settings(EventSource::XS::Stream->settings);
        my @request = (\%env, sub { die "responds\n" }, [200, []], '', $native);
        my $known   = EventSource::XS::Adapter->plain;
        my $number  = ${EventSource::XS::Stream::Native->interpreter};
        return eval { EventSource::XS::Stream::Native::_begin(@request, $number, $known); 1 } ? 0 : $@;
    };
    is $begins->(), "responds\n", 'a plain request is responded to';
    is $begins->('psgix.output.guard' => 1),                        0, 'not one with a mark of another server';
    is $begins->('psgi.errors'        => bless [], 'uwsgi::error'), 0, 'nor one with the errors of another server';
    is $begins->('psgi.multithread'   => 1),                        0, 'nor one of several threads';
    delete EventSource::XS::Adapter->plain->{is_multiprocess};
    is $begins->('psgi.multiprocess' => 1), 0, 'nor the first one of several processes';
    my $pid = fork // die "fork: $!";
    POSIX::_exit($begins->() ? 1 : 0) if !$pid;
    waitpid $pid, 0;
    is $?, 0, 'nor the first one of a child';
    EventSource::XS::Adapter->see_next_request;
    is $begins->(), 0, 'nor the next one after that was asked for';
}

done_testing;
