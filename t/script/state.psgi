# Hubs, some of which show the channel and the key of their events, and what is done with them: /HUB/events, /HUB/set?key=...,
# /HUB/update?key=... (by an event of that type, as members have), /HUB/forget?key=..., /HUB/plain (an event without a key), and
# /HUB/away, while no client has a stream. /HUB/hall and /HUB/lobby?member=... have a channel each whose members are counted,
# and /HUB/hall reads both. The stream of another hub is /stream/whole.

use Testing::Application qw(answer);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my %common = (per_process => 1, start => 'state', retry => 1, keep_history => {events => 5});
my %hub    = (
    map({ ($_ => EventSource::Hub->new(%common)) } qw(plain kept empty)),
    map({ ($_ => EventSource::Hub->new(%common, show_channel => 'data')) } qw(shown kept_shown empty_shown))
);

sub set {
    my ($hub, $key, $left, %given) = @_;
    my $json = {id => $key, item => $key, left => 0 + $left};
    return $hub->publish(stock => {key => $key, json => $json, retain => 1, %given});
}

my %DO = (
    set    => sub { my ($hub, $query) = @_; return set($hub, @$query{qw(key left)}) },
    update => sub { my ($hub, $query) = @_; return set($hub, @$query{qw(key left)}, event => 'update') },
    plain  => sub { shift->publish(stock => {event => 'plain', json => {text => 'no key'}}) },
    forget => sub { my ($hub, $query) = @_; return $hub->forget(stock => $query->{key}) },

    # More events than the history keeps.
    away => sub {
        my $hub = shift;
        $hub->end(topics => 'stock');
        set($hub, b => $_) for 1 .. 20;
        $hub->forget(stock => 'c');
        return set($hub, d => 1);
    },
);

sub doing {
    my ($hub, $code) = @_;
    return sub { $code->($hub, Plack::Request->new(shift)->query_parameters); answer('') };
}

set($hub{$_}, a => 1) for qw(kept kept_shown);

my $whole = EventSource::Hub->new(%common, keep_history => {});
set($whole, $_ => 1) for 'a' .. 'j';

builder {
    mount '/stream/whole' => $whole->to_app(channels => sub { 'stock' });
    for my $name (keys %hub) {
        mount "/$name/$_" => doing($hub{$name}, $DO{$_}) for keys %DO;
        mount "/$name/events" => $hub{$name}->to_app(
            channels => sub { qw(stock people) },
            member   => sub {
                my $id = Plack::Request->new(shift)->query_parameters->{member};
                return {id => $id, channel => 'people', json => {name => uc $id}, leave_after => 0};
            },
        );
        mount "/$name/hall" => $hub{$name}->to_app(
            channels => sub { qw(hall lobby) },
            member   => sub { {id => 'ann', channel => 'hall', join => 'count', leave_after => 0} },
        );
        mount "/$name/lobby" => $hub{$name}->to_app(
            channels => sub { 'other' },
            member   => sub {
                my $id = Plack::Request->new(shift)->query_parameters->{member};
                return {id => $id, channel => 'lobby', join => 'count', leave_after => 0};
            },
        );
    }
    mount '/' => sub { [404, [], []] };
};
