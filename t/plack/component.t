# Plack::App::EventSource as a Plack::Component, its attributes, and a connection on two callbacks.

use lib 't/lib';
use Testing;
use HTTP::Request::Common qw(GET);
use Plack::App::EventSource 0.08;    # at least the version of the original
use HTTP::ServerEvent 0.02;
use Plack::Test;

sub content_of {
    my ($app, $request) = @_;
    return test_psgi($app, sub { shift->($request || GET '/')->content });
}

subtest 'Plack::App::EventSource is a Plack::Component' => sub {
    isa_ok 'Plack::App::EventSource', 'Plack::Component';
    my $component = Plack::App::EventSource->new({handler_cb => sub { $_[0]->push('first') }});
    my $app       = $component->to_app;
    is content_of($app), "data: first\r\n\r\n", 'new accepts a hash reference of attributes';
    $component->handler_cb(sub { $_[0]->push('second') });
    is content_of($app), "data: second\r\n\r\n", 'a handler that is set later runs';
    $component->retry(4);
    is content_of($app), "retry: 4\r\ndata: second\r\n\r\n", 'a retry that is set later is sent';
    is_deeply $component->headers, undef, 'an attribute that was not set is undef';
};

subtest 'a subclass of Plack::App::EventSource' => sub {

    package My::Events {
        our @ISA = ('Plack::App::EventSource');
        sub call { my ($self, $env) = @_; $env->{my} = 'mine'; return $self->SUPER::call($env) }
    }
    my $app = My::Events->new(handler_cb => sub { my ($conn, $env) = @_; $conn->push($env->{my}) })->to_app;
    is content_of($app), "data: mine\r\n\r\n", 'call of a subclass may change the environment';
};

subtest 'an attribute that is wrong since to_app throws at the line of to_app' => sub {
    my $component = Plack::App::EventSource->new(handler_cb => sub { });
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    my $app = $component->to_app;
    $component->retry(-1);
    ok !eval { $app->({REQUEST_METHOD => 'GET'}); 1 }, 'a GET throws';
    like $@, qr/retry must be .* at \Q$file\E line $line\.\n\z/, 'the error names the line of to_app';
};

subtest 'an attribute is checked again when it has changed' => sub {
    my $range     = [5, 5];
    my $component = Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x') }, retry => $range);
    my $app       = $component->to_app;
    is content_of($app), "retry: 5\r\ndata: x\r\n\r\n", 'a range is accepted';
    @$range = (6, 6);
    is content_of($app), "retry: 6\r\ndata: x\r\n\r\n", 'a range that is changed in place is used';
    for my $case ([retry => [1, 'x']], [on_gone => 'die'], [methods => ['GET', 'get']], [native => 2], [preamble => 1])
    {
        my ($name, $value) = @$case;
        my $before = $component->$name;
        $component->$name($value);
        ok !eval { $app->({REQUEST_METHOD => 'GET'}); 1 }, "a request after a wrong $name throws";
        like $@, qr/\b$name\b/, "the error names $name";
        $component->$name($before);
        is content_of($app), "retry: 6\r\ndata: x\r\n\r\n", "$name is set back";
    }
    push @$range, 7;
    ok !eval { $app->({REQUEST_METHOD => 'GET'}); 1 }, 'a range that is made wrong in place throws';
};

subtest "headers that are set in the object's hash are sent, as by the original" => sub {
    my $component = Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x') });
    my $app       = $component->to_app;
    is content_of($app), "data: x\r\n\r\n", 'a first request';
    for my $headers (['X-A' => 1], ['X-A' => 2]) {
        $component->{headers} = $headers;
        is test_psgi($app, sub { shift->(GET '/')->header('X-A') }), $headers->[1], "X-A is $headers->[1]";
    }
};

subtest 'the accessors of a subclass are called' => sub {

    package My::Accessors {
        our @ISA = ('Plack::App::EventSource');
        our $retry;
        sub retry { return $retry }
    }
    my $app = My::Accessors->new(handler_cb => sub { $_[0]->push('x') })->to_app;
    is content_of($app), "data: x\r\n\r\n", 'the accessor has no retry';
    $My::Accessors::retry = 3;
    is content_of($app), "retry: 3\r\ndata: x\r\n\r\n", 'the accessor has a retry';
    $My::Accessors::retry = 'x';
    ok !eval { $app->({REQUEST_METHOD => 'GET'}); 1 }, 'what the accessor returns is checked';
    $My::Accessors::retry = undef;
    is content_of($app), "data: x\r\n\r\n", 'the accessor has no retry again';
};

subtest 'an attribute of a subclass with another accessor is checked again when it has changed' => sub {
    my $component = My::Accessors->new(handler_cb => sub { $_[0]->push('x') });
    my $app       = $component->to_app;
    is content_of($app), "data: x\r\n\r\n", 'there is no preamble';
    $component->preamble(3);
    is content_of($app), ":\r\ndata: x\r\n\r\n", 'a preamble is sent';
    $component->preamble(1);
    ok !eval { $app->({REQUEST_METHOD => 'GET'}); 1 }, 'a wrong preamble throws';
};

subtest 'the methods of a subclass for the beginning are called for each stream' => sub {

    package My::Beginning {
        our @ISA = ('Plack::App::EventSource');
        our ($openings, $heads) = (0, 0);
        sub opening          { return ':' . ++$openings . "\r\n" }
        sub response_headers { return [@{$_[0]->SUPER::response_headers}, 'X-Head' => ++$heads] }
    }
    my $app = My::Beginning->new(handler_cb => sub { $_[0]->push('x') })->to_app;
    for my $count (1 .. 3) {
        is content_of($app),      ":$count\r\ndata: x\r\n\r\n", "opening is called for stream $count";
        is $My::Beginning::heads, $count,                       "response_headers is called for stream $count";
    }
};

subtest 'the shortest and the longest preamble are sent' => sub {
    for my $size (3, 65_536) {
        my $app = Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x') }, preamble => $size)->to_app;
        my ($preamble, $rest) = content_of($app) =~ /\A(: *\r\n)(.*)\z/s;
        is length $preamble, $size,             "a preamble of $size bytes has that length";
        is $rest,            "data: x\r\n\r\n", 'the event follows the preamble';
    }
};

subtest 'a push with a line break in a field sends nothing' => sub {
    my $push = sub {
        my $conn = shift;
        ok !eval { $conn->push('before', {id => "a\nb"}); 1 }, 'it throws';
        $conn->push('after');
    };
    is content_of(Plack::App::EventSource->new(handler_cb => $push)->to_app), "data: after\r\n\r\n",
        'the stream continues';
};

package Unspeakable {
    use overload '""' => sub { die "no words\n" };
    sub isa { die "of no class\n" }
}

subtest 'an exception of the handler ends the stream and is reported' => sub {
    my %said = (
        'a string'        => ["oops\n",                  'oops'],
        'characters'      => ["\x{263A}\n",              "\xE2\x98\xBA"],
        'bytes'           => ["\xE2\x98\xBA\n",          "\xE2\x98\xBA"],
        'a strange thing' => [(bless {}, 'Unspeakable'), 'a Unspeakable that cannot be made a string'],
    );
    for my $name (sort keys %said) {
        my ($trouble, $text) = @{$said{$name}};
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        open my $errors, '>', \my $printed or die $!;
        my $app  = Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x'); die $trouble })->to_app;
        my $body = content_of(sub { $app->({%{$_[0]}, 'psgi.errors' => $errors}) });
        is $body, "data: x\r\n\r\n", "$name: the stream ends after the events before";
        is $printed, "Plack::App::EventSource: the handler died: $text\n",
            "$name: psgi.errors has the exception, in bytes";
        is "@warnings", '', "$name: there is no warning";
    }
};

subtest 'a connection on two callbacks' => sub {
    my @calls;
    my $conn = Plack::App::EventSource::Connection->new(
        push_cb  => sub { push @calls, [push => @_];  return 'pushed' },
        close_cb => sub { push @calls, ['close', @_]; return 'closed' },
    );
    is $conn->push('a', {id => 1}), 'pushed', 'push returns the result of push_cb';
    is $conn->close,                'closed', 'close returns the result of close_cb';
    is_deeply \@calls, [[push => 'a', {id => 1}], ['close']], 'the callbacks receive the arguments unchanged';
    ok $conn->is_open, 'the connection is open';
};

subtest 'on_close calls back when the stream has ended' => sub {
    my @told;
    my $app = Plack::App::EventSource->new(
        handler_cb => sub {
            my $conn = shift;
            is $conn->on_close(sub { my ($same, $why) = @_; push @told, [ref $same, $why, $same->push('late') ? 1 : 0] }
                ),
                $conn, 'on_close returns the connection';
            $conn->close;
            is_deeply \@told, [], 'the callback does not run inside close';
            ok !$conn->is_open,      'the connection is not open after close';
            ok !$conn->push('late'), 'a push after close returns false';
            $conn->on_close(sub { push @told, 'later' });
        }
    )->to_app;
    is content_of($app), '', 'the closed stream has no events';
    is_deeply \@told, [['Plack::App::EventSource::Connection', 'application', 0], 'later'],
        'each callback runs once after the handler, with a connection and the reason';
    my $conn = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
    ok !eval { $conn->on_close('name'); 1 }, 'on_close throws for a string';
    like $@, qr/on_close takes a code reference at \Q${\__FILE__}\E/,
        "the error of such an on_close names the reason and the caller's line";
};

subtest 'dispatch runs all callbacks though one dies' => sub {
    my (@told, @warnings);
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    EventSource::XS->later(sub { die "oops\n" });
    EventSource::XS->later(sub { push @told, @_ }, 'a', 'b');
    local $@ = 'of the caller';
    is(EventSource::XS->dispatch, 2, 'dispatch returns the number of callbacks');
    is $@, 'of the caller', 'dispatch keeps the exception of its caller';
    is_deeply \@told,     ['a', 'b'],                                   'a callback receives its arguments';
    is_deeply \@warnings, ["EventSource::XS: a callback died: oops\n"], 'an exception of a callback becomes a warning';
    is(EventSource::XS->dispatch, 0, 'no callback is left after dispatch');
    my $again = sub { my $self = shift; push @told, 'again'; EventSource::XS->later($self, $self) if @told < 9 };
    EventSource::XS->later($again, $again);
    is(EventSource::XS->dispatch, 1, 'a callback that a callback adds runs in the next dispatch');
    EventSource::XS->dispatch for 1 .. 9;
};

done_testing;
