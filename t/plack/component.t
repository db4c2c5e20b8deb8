# Plack::App::EventSource as a Plack::Component, its options, and a connection that stands on two callbacks.

use strict;
use warnings;
use utf8;

use HTTP::Request::Common qw(GET POST);
use Plack::App::EventSource 0.08;    # at least as new as what it stands in for
use HTTP::ServerEvent 0.02;
use Plack::Test;
use Test::More;

sub content_of {
    my ($app, $request) = @_;
    return test_psgi($app, sub { shift->($request || GET '/')->content });
}

subtest 'it is a component' => sub {
    isa_ok 'Plack::App::EventSource', 'Plack::Component';
    my $component = Plack::App::EventSource->new({handler_cb => sub { $_[0]->push('first') }});
    my $app       = $component->to_app;
    is content_of($app), "data: first\r\n\r\n", 'a hash reference of attributes';
    $component->handler_cb(sub { $_[0]->push('second') });
    is content_of($app), "data: second\r\n\r\n", 'the handler may change later';
    $component->retry(4);
    is content_of($app), "retry: 4\r\n\r\ndata: second\r\n\r\n", 'so may the reconnection time';
    is_deeply $component->headers, undef, 'attributes can be read';
};

subtest 'a subclass' => sub {
    {

        package My::Events;
        our @ISA = ('Plack::App::EventSource');
        sub call { my ($self, $env) = @_; $env->{my} = 'mine'; return $self->SUPER::call($env) }
    }
    my $app = My::Events->new(handler_cb => sub { my ($conn, $env) = @_; $conn->push($env->{my}) })->to_app;
    is content_of($app), "data: mine\r\n\r\n", 'wraps call';
};

subtest 'options that cannot be' => sub {
    for my $case (
        [on_gone  => 'die',  q(on_gone must be undef or 'unwind')],
        [retry    => '1.5',  'retry must be a whole number of milliseconds, or two of them'],
        [retry    => "1\n",  'retry must be a whole number of milliseconds, or two of them'],
        [retry    => '',     'retry must be a whole number of milliseconds, or two of them'],
        [preamble => 2,      'preamble must be a number of bytes from 3 to 65536, or 0'],
        [preamble => 65_537, 'preamble must be a number of bytes from 3 to 65536, or 0'],
        [preamble => 'x',    'preamble must be a number of bytes from 3 to 65536, or 0'],
    ) {
        my ($name, $value, $why) = @$case;
        my $component = Plack::App::EventSource->new(handler_cb => sub { }, $name => $value);
        my ($file, $line) = (__FILE__, __LINE__ + 1);
        ok !eval { $component->to_app; 1 }, "$name => '$value'";
        is $@, "Plack::App::EventSource: $why at $file line $line.\n", q(croaks at the caller's line);
    }
    ok !eval { Plack::App::EventSource->new->to_app->({REQUEST_METHOD => 'GET'}); 1 }, 'no handler';
    like $@, qr/there is no handler_cb/, 'is said';
};

subtest 'the longest and the shortest preamble' => sub {
    for my $size (3, 65_536) {
        my $app = Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x') }, preamble => $size)->to_app;
        my ($preamble, $rest) = content_of($app) =~ /\A(: *\r\n)(.*)\z/s;
        is length $preamble, $size,             "$size bytes";
        is $rest,            "data: x\r\n\r\n", 'and then the event';
    }
};

subtest 'a push that is refused' => sub {
    for my $case (
        [{id    => "a\nb"}, 'id must not contain a line break'],
        [{event => "\0"},   'event must not contain NUL'],
        [{retry => "1\r"},  'retry must not contain a line break'],
    ) {
        my ($message, $why) = @$case;
        my $trouble = '';
        my $line;
        my $app = Plack::App::EventSource->new(
            handler_cb => sub {
                my $conn = shift;
                $line = __LINE__ + 1;
                eval { $conn->push('before', $message); 1 } or $trouble = $@;
                $conn->push('after');
            }
        )->to_app;
        is content_of($app), "data: after\r\n\r\n", 'nothing of it is sent, the stream goes on';
        is $trouble,         "EventSource::XS: $why at ${\__FILE__} line $line.\n", q(it croaks at the caller's line);
    }
};

{

    package Unspeakable;
    use overload '""' => sub { die "no words\n" };
    sub isa { die "of no class\n" }
}

subtest 'an exception of the handler' => sub {
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
        is $body,       "data: x\r\n\r\n",                                    "$name: the stream ends";
        is $printed,    "Plack::App::EventSource: the handler died: $text\n", 'the server is told, in bytes';
        is "@warnings", '',                                                   'and nothing is warned about';
    }
};

subtest 'a connection of two callbacks' => sub {
    my @calls;
    my $conn = Plack::App::EventSource::Connection->new(
        push_cb  => sub { push @calls, [push => @_];  return 'pushed' },
        close_cb => sub { push @calls, ['close', @_]; return 'closed' },
    );
    is $conn->push('a', {id => 1}), 'pushed', 'push gives what the callback gives';
    is $conn->close,                'closed', 'so does close';
    is_deeply \@calls, [[push => 'a', {id => 1}], ['close']], 'they get the messages as they are';
    ok $conn->is_open, 'it is open as far as anybody knows';
};

subtest 'on_close' => sub {
    my @told;
    my $app = Plack::App::EventSource->new(
        handler_cb => sub {
            my $conn = shift;
            is $conn->on_close(sub { my ($same, $why) = @_; push @told, [ref $same, $why, $same->push('late') ? 1 : 0] }
                ),
                $conn, 'returns the connection';
            $conn->close;
            is_deeply \@told, [], 'is not called inside close';
            ok !$conn->is_open,      'which ends it at once';
            ok !$conn->push('late'), 'so that a push is false';
            $conn->on_close(sub { push @told, 'later' });
        }
    )->to_app;
    is content_of($app), '', 'nothing was sent';
    is_deeply \@told, [['Plack::App::EventSource::Connection', 'application', 0], 'later'],
        'called when the handler has returned, once each, with a connection and the reason';
    my $conn = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
    ok !eval { $conn->on_close('name'); 1 }, 'a string is refused';
    like $@, qr/on_close takes a code reference at \Q${\__FILE__}\E/, q(at the caller's line);
};

subtest 'a callback that dies stops no other' => sub {
    my (@told, @warnings);
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    EventSource::XS->later(sub { die "oops\n" });
    EventSource::XS->later(sub { push @told, @_ }, 'a', 'b');
    local $@ = 'of the caller';
    is(EventSource::XS->dispatch, 2, 'both ran');
    is $@, 'of the caller', 'an exception of the caller stands';
    is_deeply \@told,     ['a', 'b'],                                   'the second with its arguments';
    is_deeply \@warnings, ["EventSource::XS: a callback died: oops\n"], 'the first as a warning';
    is(EventSource::XS->dispatch, 0, 'and none is left');
    my $again = sub { my $self = shift; push @told, 'again'; EventSource::XS->later($self, $self) if @told < 9 };
    EventSource::XS->later($again, $again);
    is(EventSource::XS->dispatch, 1, 'what a callback calls later is for the next time');
    EventSource::XS->dispatch for 1 .. 9;
};

subtest 'other methods' => sub {
    my $app = Plack::App::EventSource->new(handler_cb => sub { die 'not called' })->to_app;
    test_psgi $app, sub {
        my $response = shift->(POST '/');
        is $response->code,    405,                  'POST';
        is $response->content, 'Method not allowed', 'says so';
    };
};

done_testing;
