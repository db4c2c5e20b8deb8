# The demonstration: every window receives what one window publishes, and a window that reconnects receives what it has
# missed. script/demo starts it. Any PSGI server can run it, with one process, since a hub lives in one process:
#
#   plackup examples/live/app.psgi
#   plackup -s Starman --workers 1 --max-requests 1000000 examples/live/app.psgi
#
# The figures are published by the program `crowd` in this folder, which has to know the same LIVE_SECRET.

use strict;
use warnings;

use EventSource::Hub;
use File::Basename qw(dirname);
use File::Spec;
use JSON::MaybeXS qw(decode_json encode_json);
use Plack::App::EventSource;
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Time::HiRes qw(time);

my $PUBLIC = File::Spec->catdir(dirname(__FILE__), 'public');
my $SECRET = $ENV{LIVE_SECRET};

# The type of an event is its channel's name. A new window begins with the whole history.
my $hub = EventSource::Hub->new(
    history      => {events => 120},
    retry        => [1000, 2000],
    show_channel => 'event',
    start        => 'oldest',
);

# The crowd's streams. Most applications need no more than this.
my $events = $hub->to_app(channels => sub { return qw(notes figures) });

# The windows' streams have the same channels. Their connections are kept, so that a window can have its own dropped.
my %windows;
my $window = Plack::App::EventSource->new(
    retry      => [1000, 2000],
    handler_cb => sub {
        my ($connection, $env) = @_;
        my $query = Plack::Request->new($env)->query_parameters;
        my $name  = $query->get('name') // '';
        $windows{$name} = $connection;
        $connection->on_close(
            sub {
                my $closed = shift;
                delete $windows{$name} if ($windows{$name} // 0) == $closed;
            }
        );

        # Events that were published until now are replayed; later ones are new.
        $connection->push({event => 'here', data => encode_json({published => $hub->stats->{published}, pid => $$})});
        $hub->serve(
            $connection,
            qw(notes figures),
            {after => $connection->last_event_id // $query->get('last_event_id')}
        );
    },
);

my %number;    # the number of each channel's last event

sub publish {
    my ($channel, $data) = @_;
    return $hub->publish($channel, {json => {%$data, number => ++$number{$channel}, time => time}});
}

# An application that passes the JSON of a POST to an action and answers with what the action returns.
sub posted {
    my $action = shift;
    return sub {
        my $request = Plack::Request->new(shift);
        return refusal(405, 'POST only', Allow => 'POST') if $request->method ne 'POST';
        return refusal(403, 'Only from the page itself') if is_foreign($request);
        my $sent = eval { decode_json($request->raw_body) };
        return refusal(400, 'Not a JSON object') if ref $sent ne 'HASH';
        my $answer = $action->($sent, $request) or return refusal(403, 'Forbidden');
        my $bytes  = encode_json($answer);
        return [200, ['Content-Type' => 'application/json', 'Content-Length' => length $bytes], [$bytes]];
    };
}

# Browsers send the origin of the page that makes a request. Pages of other sites are refused.
sub is_foreign {
    my $request = shift;
    my ($origin, $host) = map { scalar $request->header($_) } qw(Origin Host);
    return defined $origin && $origin !~ m{\Ahttps?://\Q$host\E\z};
}

sub refusal {
    my ($status, $why, @headers) = @_;
    return [$status, ['Content-Type' => 'text/plain', @headers], ["$why\n"]];
}

# Publishes a note.
sub note {
    my $sent = shift;
    my ($from, $text) = map { substr $sent->{$_} // '', 0, 200 } qw(from text);
    return {id => publish('notes', {from => $from, text => $text})};
}

# Ends the stream of a window, after telling it when to reconnect.
sub drop {
    my $sent       = shift;
    my $connection = delete $windows{$sent->{name} // ''} or return {dropped => 0};
    my ($seconds)  = ($sent->{seconds} // 0) =~ /\A([0-9]{1,2})\z/;
    $connection->push({retry => 1000 * $seconds}) if $seconds;
    $connection->close;
    return {dropped => 1};
}

# Publishes the statistics of the crowd and of the hub. Only the crowd knows the secret.
sub figures {
    my ($crowd, $request) = @_;
    my $secret = $request->header('X-Secret') // '';
    return if !defined $SECRET || $secret ne $SECRET;
    return {id => publish('figures', {crowd => $crowd, hub => $hub->stats})};
}

builder {
    enable 'Static', path => qr{\A/[a-z]+\.(?:css|html|js)\z}, root => $PUBLIC;
    mount '/events'  => $events;
    mount '/window'  => $window->to_app;
    mount '/notes'   => posted(\&note);
    mount '/drop'    => posted(\&drop);
    mount '/figures' => posted(\&figures);
    mount '/'        => Plack::App::File->new(file => "$PUBLIC/index.html")->to_app;
};
