package Testing::Originals::App;
use strict;
use warnings;

# Calls of Plack::App::EventSource and Plack::App::EventSource::Connection. See Testing::Originals.

use Plack::App::EventSource;
use Plack::App::URLMap;
use Testing::Originals::Values qw(callable value);
use Testing::RecordingWriter;

my $APP        = 'Plack::App::EventSource';
my $CONNECTION = 'Plack::App::EventSource::Connection';

# Subclasses, as applications of the original have them.
package Testing::Originals::Events {
    our @ISA = ('Plack::App::EventSource');

    sub call {
        my ($self, $env) = @_;
        return [403, [], ['no']] if $env->{forbidden};
        return $self->SUPER::call({%$env, room => $self->{room}});
    }
    sub headers     { my $self = shift;        return @_ ? $self->SUPER::headers(@_) : ['X-Room' => $self->{room}] }
    sub prepare_app { $_[0]{room} ||= 'lobby'; return }
    sub room        { return $_[0]{room} }
}

package Testing::Originals::Wrapping {
    our @ISA = ('Plack::App::EventSource');

    sub handler_cb {
        my $self = shift;
        return @_ ? $self->SUPER::handler_cb(@_) : sub { die "an accessor was called\n" }
    }
    sub headers { return }
    sub new     { my ($class, @given) = @_; my $self = bless {@given}, $class; return $self }
}

package Testing::Originals::Shouting {
    our @ISA = ('Plack::App::EventSource::Connection');

    sub push {
        my ($self, @messages) = @_;
        return $self->SUPER::push(map { uc } @messages);
    }
}

package Testing::Originals::Array {
    use overload '@{}' => sub { ${$_[0]}->() }, bool => sub { 1 }, fallback => 1;
}

package Testing::Originals::FetchOnly {
    sub TIEHASH { my ($class, %values) = @_; return bless {%values}, $class }
    sub FETCH   { return $_[0]{$_[1]} }
}

package Testing::Originals::CountedFetches {
    our @ISA = ('Testing::Originals::FetchOnly');
    my $count = 0;
    sub FETCH { return $_[1] eq 'id' ? ++$_[0]{count} : undef }
}

package Testing::Originals::Dying {
    use overload '""' => sub { die "no text\n" }, fallback => 1;
}

package Testing::Originals::AnsweringWriter {
    our @ISA = ('Testing::RecordingWriter');
    sub close { my $self = shift; $self->SUPER::close; return 'closed by the server' }
}

# What a server sees of a request: the head, what was written, and how often the writer was closed. The drop-in adds two
# headers, which their own case shows.
sub requested {
    my ($app, $env, $writer) = @_;
    my $response = $app->({REQUEST_METHOD => 'GET', 'psgi.streaming' => 1, %{$env || {}}});
    return @$response if ref $response eq 'ARRAY';
    $writer ||= Testing::RecordingWriter->new;
    my $head;
    $response->(sub { $head = shift; return $writer });
    my @headers = @{$head->[1]};
    splice @headers, 6, 4 if ($headers[6] || '') eq 'X-Accel-Buffering';
    $headers[3] =~ s/, no-transform\z// if @headers > 3;
    return ($head->[0], \@headers, $writer->kept, $writer->times_closed);
}

# A request whose handler runs the code, and its result.
sub handled {
    my ($code, $writer) = @_;
    my @result;
    my $app     = $APP->new(handler_cb => sub { @result = $code->(@_); $_[0]->close; return })->to_app;
    my @request = requested($app, {}, $writer);
    return (@request, @result);
}

# A case whose handler runs the code.
sub handles {
    my ($name, $code, @row) = @_;
    return [$name => sub { handled($code) }, @row];
}

# A case that pushes each list of messages, and closes.
sub pushes {
    my ($name, $code, @row) = @_;
    return handles(
        $name => sub {
            my $conn = shift;
            return map { $conn->push(@$_) } $code->();
        },
        @row
    );
}

# A case that pushes one message in a handler, which dies.
sub dies {
    my ($name, $message, @row) = @_;
    return [$name => sub { died($message) }, @row];
}

sub new_app {
    my @given = @_;
    return sub { requested($APP->new(@given)->to_app) }
}

my $HANDLER = sub { $_[0]->push('x'); $_[0]->close; return };
my $KEEPING =
    sub { $_[0]->push('x'); push @Testing::Originals::kept, $_[0]; return };    ## no critic (ProhibitPackageVars)

sub cases {
    my ($class, $random) = @_;
    return (
        _constructors(), _headers(), _handlers(), _subclasses(), _connections(), _wrappers(), _messages(),
        _differences(),
        (map { _random_push($_, $random) } 1 .. 1_000),
        (map { _random_app($_, $random) } 1 .. 300),
    );
}

# Names and codes as cases.
sub _cases {
    my @cases;
    while (my ($name, $code) = splice @_, 0, 2) { push @cases, [$name, $code] }
    return @cases;
}

# The same code for each of these, which its name has in place of the %.
sub _each {
    my ($name, $code, @of) = @_;
    return map {
        my $one = $_;
        ($name =~ s/%/$one/r => sub { $code->($one) })
    } @of;
}

sub _constructors {
    return _cases(
        'new with a list'        => new_app(handler_cb => $HANDLER),
        'new with a hash'        => new_app({handler_cb => $HANDLER}),
        'new twice the same'     => new_app(handler_cb => 1,        handler_cb => $HANDLER),
        'an odd list'            => new_app(handler_cb => $HANDLER, 'headers'),
        'undef as a name'        => new_app(handler_cb => $HANDLER, undef, 1),
        'a reference as a name'  => new_app(handler_cb => $HANDLER, [],    1),
        'unknown attributes'     => new_app(handler_cb => $HANDLER, colour => 1, handler => 2, header => 3),
        'new on an object'       => sub { requested($APP->new->new(handler_cb => $HANDLER)->to_app) },
        'new without attributes' => sub { ref $APP->new },
        _each('new with % alone' => sub { ref $APP->new(value($_[0])) }, value()),
        _each(
            '% as handler_cb, a POST' => sub {
                requested($APP->new(handler_cb => value($_[0]))->to_app, {REQUEST_METHOD => 'POST', no_allow => 1});
                'lived';
            },
            value()
        ),
        'to_app without a handler' => sub { ref $APP->new->to_app },
        'a POST without a handler' => sub { ($APP->new->to_app->({REQUEST_METHOD => 'POST'}))->[0] },
        'to_app of the class'      => sub { ref $APP->to_app },
        'a POST to the class'      => sub { ($APP->to_app->({REQUEST_METHOD => 'POST'}))->[0] },
        'call without to_app'      => sub {
            requested(sub { $APP->new(handler_cb => $HANDLER)->call(@_) });
        },
        'an object that is called'  => sub { requested($APP->new(handler_cb => $HANDLER)) },
        'an object that is mounted' => sub {
            my $map = Plack::App::URLMap->new;
            $map->map('/' => $APP->new(handler_cb => $HANDLER));
            return requested($map->to_app, {PATH_INFO => '/', SCRIPT_NAME => ''});
        },
        _each(
            'method %' => sub {
                my @r = requested($APP->new(handler_cb => $HANDLER)->to_app, {REQUEST_METHOD => $_[0]});
                return @r[0, 2];
            },
            qw(GET POST PUT OPTIONS get GETS),
            ''
        ),
        'accessors' => sub {
            my $app = $APP->new(handler_cb => $HANDLER);
            my @set = ($app->headers(['X-A', 1]), $app->headers, $app->headers('X-B', 2), $app->headers);
            return (@set, requested($app->to_app), ref $app->handler_cb, ref $app->handler_cb($KEEPING));
        },
        'attributes set between requests' => sub {
            my $app = $APP->new;
            my $run = $app->to_app;
            $app->handler_cb($HANDLER);
            my @first = requested($run);
            $app->headers(my $headers = ['X-A', 1]);
            my @second = requested($run);
            push @$headers, 'X-B', 2;
            my @third = requested($run);
            $app->{headers} = undef;
            return (@first, @second, @third, requested($run));
        },
        'class methods' => sub {
            return map { $APP->can($_) ? 1 : 0 } qw(new call to_app prepare_app handler_cb headers);
        },
        'versions' => sub { $APP->VERSION(0.02); 1 },
    );
}

sub _headers {
    my $of = sub {
        my $headers = shift;
        return sub {
            requested(
                $APP->new(handler_cb => $HANDLER, headers => ref $headers eq 'CODE' ? $headers->() : $headers)->to_app);
        }
    };
    return _cases(
        'headers'                      => $of->(['X-A' => 1, 'X-B' => 2]),
        'no headers'                   => $of->([]),
        'headers that are undef'       => $of->(undef),
        'headers that are empty'       => $of->(''),
        'headers that are 0'           => $of->(0),
        'a name without a value'       => $of->(['X-A']),
        'a value that is undef'        => $of->(['X-A',          undef]),
        'a name that is undef'         => $of->([undef,          1]),
        'a name with a space'          => $of->(['X A',          1]),
        'a name with a colon'          => $of->(['X-A: 1',       'X-B: 2']),
        'a name that is empty'         => $of->(['',             1]),
        'a header of the module'       => $of->(['Content-Type', 'text/plain']),
        'a value with wide characters' => $of->(['X-A',          "\x{263A}"]),
        'a value with a tab'           => $of->(['X-A',          "a\tb"]),
        'an array that is an object'   => $of->(sub { bless ['X-A', 1], 'My::Class' }),
        'an overloaded array'          => $of->(
            sub {
                my $x = sub { ['X-A', 1] };
                bless \$x, 'Testing::Originals::Array';
            }
        ),
        'an array that changes' => sub {
            my $count = 0;
            my $value = sub { ['X-Count', ++$count] };
            my $app = $APP->new(handler_cb => $HANDLER, headers => bless \$value, 'Testing::Originals::Array')->to_app;
            requested($app);
            my $before = $count;
            my @second = requested($app);
            return $count > $before ? 'asked again' : 'not asked again';
        },
        _each(
            'a value of a header is %' => sub {
                my $value = shift;
                $of->(sub { ['X-A', value($value)] })->();
            },
            value()
        ),
        _each('headers are %, new' => sub { ref $APP->new(headers => value($_[0]))->to_app }, value()),
    );
}

sub _handlers {
    my $code =
        sub { my ($conn, $env) = @_; $conn->push(ref $conn, $env->{REQUEST_METHOD}, scalar @_); $conn->close; return };
    my %callable = callable($code);
    return _cases(
        _each(
            'a handler that is %' =>
                sub { my %c = callable($code); requested($APP->new(handler_cb => $c{$_[0]})->to_app) },
            sort keys %callable
        ),
        _each(
            'callbacks that are %' => sub {
                my $name = shift;
                my @called;
                my %c    = callable(sub { push @called, [@_]; return 'result' });
                my $conn = $CONNECTION->new(push_cb => $c{$name}, close_cb => $c{$name});
                return ($conn->push(1, 2), $conn->close, @called);
            },
            sort keys %callable
        ),
        'the environment is the same' => sub {
            my $given;
            my $app = $APP->new(handler_cb => sub { $given = $_[1]; $_[0]->close })->to_app;
            my $env = {REQUEST_METHOD => 'GET'};
            $app->($env)->(sub { Testing::RecordingWriter->new });
            $given == $env ? 1 : 0;
        },
    );
}

sub _subclasses {
    return _cases(
        'a subclass with attributes' => sub {
            requested(
                Testing::Originals::Events->new(
                    room       => 'red',
                    handler_cb => sub { $_[0]->push($_[1]{room}); $_[0]->close }
                )->to_app
            );
        },
        'a subclass that prepares' => sub {
            requested(
                Testing::Originals::Events->new(handler_cb => sub { $_[0]->push($_[1]{room}); $_[0]->close })->to_app);
        },
        'a subclass that refuses' => sub { requested(Testing::Originals::Events->new->to_app, {forbidden => 1}) },
        'a subclass whose headers change' => sub {
            my $app   = Testing::Originals::Events->new(room => 'red', handler_cb => $HANDLER);
            my $run   = $app->to_app;
            my @first = requested($run);
            $app->{room} = 'blue';
            return (@first, requested($run));
        },
        'a subclass with its own new and accessors' =>
            sub { requested(Testing::Originals::Wrapping->new(handler_cb => $HANDLER)->to_app) },
        'a subclass of the connection' => sub {
            my @pushed;
            my $conn = Testing::Originals::Shouting->new(push_cb => sub { push @pushed, @_; scalar @_ });
            return ($conn->push('a', 'b'), @pushed);
        },
    );
}

sub _connections {
    my $result = sub { wantarray ? ('a', 'list') : defined wantarray ? 'a scalar' : undef };

    # How often a callback was called when a connection was used and released.
    my $counted = sub {
        my ($name, $use) = @_;
        return sub {
            my $n = 0;
            $use->($CONNECTION->new($name => sub { $n++ }));
            $n;
        };
    };
    return _cases(
        'a connection without push_cb'  => $counted->(close_cb => sub { $_[0]->close }),
        'a connection without close_cb' => $counted->(push_cb  => sub { $_[0]->push }),
        'a connection without anything' => sub { ref $CONNECTION->new },
        'a connection of a hash'        => sub {
            ref $CONNECTION->new({push_cb => sub { }});
        },
        'a connection of an odd list' => sub {
            my $n;
            $CONNECTION->new(push_cb => sub { $n = 1 }, 'close_cb')->push;
            $n;
        },
        'unknown attributes are not kept' => sub {
            my $conn = $CONNECTION->new(push_cb => sub { }, colour => 1);
            [grep { !/_cb\z/ } keys %$conn];
        },
        _each(
            'callbacks that are %' => sub { ref $CONNECTION->new(push_cb => value($_[0]), close_cb => value($_[0])) },
            value()
        ),
        'push returns a list'      => sub { my @got = $CONNECTION->new(push_cb  => $result)->push;  @got },
        'push returns a scalar'    => sub { my $got = $CONNECTION->new(push_cb  => $result)->push;  $got },
        'close returns a list'     => sub { my @got = $CONNECTION->new(close_cb => $result)->close; @got },
        'close returns a scalar'   => sub { my $got = $CONNECTION->new(close_cb => $result)->close; $got },
        'the arguments of push_cb' => sub {
            my @got;
            $CONNECTION->new(push_cb => sub { @got = @_; $_[0] = 'changed' })
                ->push(my $text = 'x', undef, {a => 1}, [2]);
            (@got, $text);
        },
        'the arguments of close_cb' => sub {
            my @got;
            $CONNECTION->new(close_cb => sub { @got = @_ })->close(1, 2);
            scalar @got;
        },
        'close twice'                                    => $counted->(close_cb => sub { $_[0]->close; $_[0]->close }),
        'a connection is not closed when it is released' => $counted->(close_cb => sub { }),
        'an exception of push_cb'                        => sub {
            my $conn  = $CONNECTION->new(push_cb => sub { die "no\n" });
            my $lived = eval { $conn->push(1); 1 };
            ($lived, $@);
        },
        'an exception of close_cb' => sub {
            my $conn  = $CONNECTION->new(close_cb => sub { die {a => 1} });
            my $lived = eval { $conn->close; 1 };
            ($lived, $@);
        },
    );
}

sub _messages {
    return (
        pushes('nothing is pushed'        => sub { [] }),
        pushes('one message'              => sub { ['x'] }),
        pushes('several messages'         => sub { ['x', 'y', {id => 1}, 'z'] }),
        pushes('several pushes'           => sub { return (['x'], [], ['y']) }),
        pushes('names and values'         => sub { [event => 'x', data => 'y'] }),
        pushes('an empty hash'            => sub { [{}] }),
        pushes('an unknown field'         => sub { [{data => 1,     colour => 2, Data  => 3}] }),
        pushes('a hash of undef'          => sub { [{data => undef, id => undef, event => undef, retry => undef}] }),
        pushes('a hash that is an object' => sub { [bless {data => 'x'}, 'My::Class'] }),
        pushes(
            'a tied hash with FETCH only' =>
                sub { tie my %event, 'Testing::Originals::FetchOnly', event => 'e', data => 'd'; [\%event] }
        ),
        pushes('a retry that is no number' => sub { [{retry => 'soon'}] }),
        pushes('empty fields'              => sub { [{data  => '', id => '', event => '', retry => ''}] }),
        (
            map {
                my $name = $_;
                pushes("a message that is $name" => sub { ['before', value($name), 'after'] })
            } value()
        ),
        (
            map {
                my $field = $_;
                map {
                    my $name = $_;
                    pushes("$field is $name" => sub { [{$field => value($name)}] })
                } value()
            } qw(data event id retry)
        ),
        handles('a scalar result'    => sub { my $pushed = $_[0]->push('x'); $pushed }),
        handles('a list result'      => sub { my @pushed = $_[0]->push('x'); @pushed }),
        handles('the arguments stay' => sub { my @given  = (undef, 5, {data => 0.5}); $_[0]->push(@given); @given }),
    );
}

# Deliberate differences: each has its item in EventSource::Migration.
# Applications that put a sub of their own in the place of the connection's new. Each returns what the sub saw, too.
sub _wrappers {
    my $new     = $CONNECTION->can('new');
    my $wrapped = sub {
        my ($sub, $handler) = @_;
        return sub {
            my @seen;
            no warnings 'redefine';
            local *Plack::App::EventSource::Connection::new = sub { $sub->(\@seen, @_) };
            my @request = requested($APP->new(handler_cb => $handler || $HANDLER)->to_app);
            return (@request, @seen);
        };
    };
    return _cases(
        'a new that counts' => $wrapped->(sub { my $seen = shift; push @$seen, scalar @_, $_[0]; return $new->(@_) }),
        'a new that wraps the callbacks' => $wrapped->(
            sub {
                my ($seen, $class, %given) = @_;
                my ($push, $close) = @given{qw(push_cb close_cb)};
                return $new->(
                    $class,
                    push_cb => sub {
                        push @$seen, [@_];
                        $push->(map { uc } @_);
                    },
                    close_cb => sub { push @$seen, 'closed'; $close->() }
                );
            }
        ),
        'a new whose callbacks are replaced' => $wrapped->(
            sub {
                my ($seen, @given) = @_;
                my $conn = $new->(@given);
                push @$seen, join ' ', map { ref } @$conn{qw(close_cb push_cb)};
                my $push = $conn->{push_cb};
                $conn->{push_cb} = sub { $push->('before'); $push->(@_) };
                return $conn;
            }
        ),
        'a new that returns an object of its own' => $wrapped->(
            sub {
                my (undef, undef, %given) = @_;
                return bless \%given, 'Testing::Originals::Own';
            },
            sub { my ($conn) = @_; $conn->{push_cb}->('x'); $conn->{close_cb}->(); return }
        ),
        'a new that returns nothing' => $wrapped->(
            sub { my ($seen, undef, %given) = @_; push @$seen, sort keys %given; $given{close_cb}->(); return undef },
            sub { return }
        ),
        'callbacks that are set later' => sub {
            my @pushed;
            my @request = handled sub {
                $_[0]{push_cb} = sub { push @pushed, @_ };
                $_[0]->push('x');
                return;
            };
            return (@request, @pushed);
        },
    );
}

sub _differences {
    my %ROW = (
        arrays   => 'a reference to an array as a message or as `data`',
        callback => '`$conn->{push_cb}`, `$conn->{close_cb}`',
        changes  => "an object's text, a tied variable",
        closed   => 'a push after `close`, a second `close`',
        dropped  => 'a connection that nobody keeps, on a server that blocks',
        dying    => 'an object whose text dies, as a message',
        fields   => '`json`, `comment`, `bytes` in a pushed hash',
        gone     => 'a client that has disconnected',
        headers  => 'a line break or NUL in `headers`',
        kept     => 'a connection that is kept, on a server that blocks',
        injected => 'a line break or NUL in a pushed `id`, `event`, `retry`',
        lines    => 'a line break in pushed data',
        method   => 'methods',
        nginx    => 'behind nginx',
        returned => 'what `close` returns',
        wide     => 'text with wide characters',
    );
    return (
        [
            'a connection that is kept' => sub {
                my @kept;
                my $writer  = Testing::RecordingWriter->new;
                my @request = requested(
                    $APP->new(handler_cb => sub { @kept = @_; $_[0]->push('in the handler'); return })->to_app,
                    {}, $writer);
                my $pushed = $kept[0]->push('later');
                my $kept   = $writer->kept;
                $kept[0]->close;
                return (@request, $kept, $pushed, $writer->times_closed);
            },
            $ROW{kept},
            sent("data: in the handler\r\n\r\n", "data: in the handler\r\n\r\n", '', 1)
        ],
        pushes('two lines of data' => sub { ["a\nb"] }, $ROW{lines}, sent("data: a\r\ndata: b\r\n\r\n")),
        pushes(
            'two lines of data in a hash' => sub { [{data => "a\r\nb"}] },
            $ROW{lines},
            sent("data: a\r\ndata: b\r\n\r\n")
        ),
        (
            map {
                my $field = $_;
                map {
                    my $refused = "EventSource::XS: $field must not contain " . ($_ eq "\0" ? 'NUL' : 'a line break');
                    dies(sprintf('a break %vd in %s', $_, $field), {$field => "a${_}b"}, $ROW{injected}, [$refused])
                } "\n", "\r", "\0"
            } qw(event id retry)
        ),
        pushes('Latin-1'          => sub { ["\xE9"] },               $ROW{wide},   sent("data: \xC3\xA9\r\n\r\n")),
        pushes('wide characters'  => sub { ["\x{263A}"] },           $ROW{wide},   sent("data: \xE2\x98\xBA\r\n\r\n")),
        pushes('an array'         => sub { [['a', 'b']] },           $ROW{arrays}, sent("data: a\r\ndata: b\r\n\r\n")),
        pushes('an array as data' => sub { [{data => ['a', 'b']}] }, $ROW{arrays}, sent("data: a\r\ndata: b\r\n\r\n")),
        pushes('json'             => sub { [{json => {a => 1}}] },   $ROW{fields}, sent(qq(data: {"a":1}\r\n\r\n))),
        pushes('comment'          => sub { [{comment => 'x'}] },     $ROW{fields}, sent(": x\r\n")),
        dies('bytes', {data => "\xE9", bytes => 1}, $ROW{fields}, ['EventSource::XS: data must be valid UTF-8']),
        pushes(
            'a tied hash that counts' => sub { tie my %event, 'Testing::Originals::CountedFetches'; [\%event] },
            $ROW{changes},
            sent("id: 1\r\n\r\n")
        ),
        dies('an object whose text dies', bless([], 'Testing::Originals::Dying'), $ROW{dying}, ['no text']),
        handles(
            'the callbacks of a connection' => sub {
                my ($conn) = @_;
                return map { ref } @$conn{qw(close_cb push_cb)};
            },
            $ROW{callback},
            sent('', '', '')
        ),
        handles('a push after close' => sub { $_[0]->close; scalar $_[0]->push('late') }, $ROW{closed}, sent('', '')),
        handles('a second close' => sub { $_[0]->close; $_[0]->close; return }, $ROW{closed}, [@{sent('')}[0 .. 3]]),
        [
            'the result of close' => sub {
                handled(sub { scalar $_[0]->close }, Testing::Originals::AnsweringWriter->new);
            },
            $ROW{returned},
            sent('', undef)
        ],
        [
            'a connection that is released' => sub {
                requested($APP->new(handler_cb => sub { $_[0]->push('x'); return })->to_app);
            },
            $ROW{dropped},
            [@{sent("data: x\r\n\r\n")}[0 .. 3]]
        ],
        [
            'X-Accel-Buffering, Incremental and no-transform' => sub {
                my $head;
                $APP->new(handler_cb => $HANDLER)->to_app->({REQUEST_METHOD => 'GET'})
                    ->(sub { $head = shift; Testing::RecordingWriter->new });
                (@{$head->[1]}[6 .. 9], $head->[1][3] =~ /(no-transform)\z/);
            },
            $ROW{nginx},
            ['X-Accel-Buffering', 'no', 'Incremental', '?1', 'no-transform']
        ],
        [
            'the headers of a 405' =>
                sub { $APP->new(handler_cb => $HANDLER)->to_app->({REQUEST_METHOD => 'POST'})->[1] },
            $ROW{method},
            [['Allow', 'GET', 'Content-Length', 18]]
        ],
        [
            'the body of the response to HEAD' =>
                sub { @{$APP->new(handler_cb => $HANDLER)->to_app->({REQUEST_METHOD => 'HEAD'})}[0, 2] },
            $ROW{method},
            [405, []]
        ],
        (
            map {
                my $headers = ['X-A', "a${_}b"];
                [
                    sprintf('a break %vd in a header', $_) => sub {
                        eval { $APP->new(headers => $headers); 1 } ? 'lived' : $@ =~ /(the value of .*) at /;
                    },
                    $ROW{headers},
                    ['the value of X-A in headers must be one line']
                ]
            } "\n",
            "\r",
            "\0"
        ),
        [
            'a writer that dies' => sub {
                my $push = sub {
                    map { scalar $_[0]->push($_) } 1 .. 3;
                };
                handled($push, Testing::RecordingWriter->new(takes => 1));
            },
            $ROW{gone},
            sent("data: 1\r\n\r\n", 1, '', '')
        ],
    );
}

# What the exception of a push begins with.
sub died {
    my $message = shift;
    my $died    = 'lived';
    handled sub {
        eval { $_[0]->push($message); 1 } or $died = $@;
        return;
    };
    $died =~ s/(?: \(|;| at ).*|\n//s;
    return $died;
}

# The expected result of `handled`: the bytes, and what the handler returned, by default that a push is accepted.
sub sent {
    my ($bytes, @returned) = @_;
    my @headers = (
        'Content-Type',                 'text/event-stream; charset=UTF-8',
        'Cache-Control',                'no-store, no-cache, must-revalidate, max-age=0',
        'Access-Control-Allow-Methods', 'GET'
    );
    return [200, \@headers, $bytes, 1, @returned ? @returned : 1];
}

sub _random_push {
    my ($number, $random) = @_;
    my @messages;
    for (1 .. $random->(0 .. 4)) {
        if ($random->(0 .. 2)) { push @messages, _given($random); next }
        push @messages, {map { $_ => _given($random) } grep { $random->(0, 1) } qw(event id data retry colour)};
    }
    my $make = sub { my $given = shift; return ref $given eq 'SCALAR' ? value($$given) : $given };
    return pushes "random push $number" => sub {
        [
            map {
                my $message = $_;
                ref $message eq 'HASH' ? {map { $_ => $make->($message->{$_}) } keys %$message} : $make->($message)
            } @messages
        ]
    };
}

# A reference is the name of a value.
sub _given {
    my $random = shift;
    return $random->(0 .. 3) ? _text($random) : \$random->(value());
}

# Text that is the same for both: without line breaks, and UTF-8.
sub _text {
    my $random = shift;
    return join '',
        map { $random->('a' .. 'c', ' ', ':', "\t", "\xC3\xA9", "\xE2\x98\xBA", 0, 1) } 1 .. $random->(0 .. 12);
}

sub _random_app {
    my ($number, $random) = @_;
    my @given;
    my %headers = (
        none      => sub { undef },
        empty     => sub { [] },
        pairs     => sub { ['X-A' => 1, 'X-B' => 'two'] },
        odd       => sub { ['X-A'] },
        undefined => sub { ['X-A', undef, undef, 'x'] },
        object    => sub { bless ['X-C' => 3], 'My::Class' },
    );
    my @plan = map { [$random->(qw(handler_cb handler_cb headers headers colour), ''), $random->(sort keys %headers)] }
        1 .. $random->(1 .. 4);
    my $handler =
        $random->('code', 'an object that is code', 'an overloaded object', 'a glob', 'a reference to a glob');
    my ($is_hash, $is_odd, $method, $class) = map { $random->(@$_) } [0, 1], [0, 0, 0, 1], [qw(GET GET GET POST PUT)],
        [$APP, $APP, 'Testing::Originals::Events', 'Testing::Originals::Wrapping'];
    return [
        "random application $number" => sub {
            my %callable = callable($HANDLER);
            my @list     = map {
                my ($name, $kind) = @$_;
                ($name => $name eq 'handler_cb' ? $callable{$handler} : $name eq 'headers' ? $headers{$kind}->() : 1)
            } @plan;
            push @list, 'colour' if $is_odd && !$is_hash;
            my $app = $is_hash && $class ne 'Testing::Originals::Wrapping' ? $class->new({@list}) : $class->new(@list);
            my @result = requested($app->to_app, {REQUEST_METHOD => $method});
            return $result[0] == 405 ? @result[0, 2] : @result;
        }
    ];
}

1;
