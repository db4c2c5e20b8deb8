# A chat with rooms. A client that was away receives what was said meanwhile.
use strict;
use warnings;

use EventSource::Hub;
use JSON::MaybeXS qw(decode_json);
use Plack::Builder;
use Plack::Request;

# A client that enters a room receives the last 50 messages of it.
my $hub = EventSource::Hub->new(start => -50, history => {events => 500, seconds => 86_400});

# The channel of the path /ROOM; nothing, which to_app answers with 404, for any other path.
sub channel { return $_[0]{PATH_INFO} =~ m{\A/(\w{1,40})\z} ? "room/$1" : () }

sub say_it {
    my $request = Plack::Request->new(shift);
    my $channel = channel($request->env) or return [404, [], []];

    # A form of another site cannot send JSON, so it cannot make its visitors speak here.
    return [415, [], []] if $request->method ne 'POST' || ($request->content_type || '') ne 'application/json';
    my $said = eval { decode_json($request->content) };
    return [400, [], []] if ref $said ne 'HASH' || grep { ref || !defined } @$said{qw(name text)};
    $hub->publish($channel => {event => 'said', json => {name => $said->{name}, text => $said->{text}}});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => \&channel);
    mount '/say'    => \&say_it;
};
