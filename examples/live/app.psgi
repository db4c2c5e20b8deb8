# The demonstration: what one window publishes all windows receive, and one that was away is sent what it has missed. Started
# by script/demo, or with any PSGI server that holds it in one process, for that is where a hub lives:
#
#   plackup examples/live/app.psgi
#   plackup -s Starman --workers 1 --max-requests 1000000 examples/live/app.psgi
#
# Figures come while the program `crowd` beside this file runs, which knows the secret LIVE_SECRET too.

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

# A channel has its name for the type of its events, and a new window begins with what there is.
my $hub = EventSource::Hub->new(
    history      => {events => 120},
    retry        => [1000, 2000],
    show_channel => 'event',
    start        => 'oldest',
);

# Anybody may follow; this is all that most applications need.
my $events = $hub->to_app(channels => sub { return qw(notes figures) });

# A window follows the same, and its connection is remembered, so that it can be ended.
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

        # What is published until now it is sent again; what follows is new.
        $connection->push({event => 'here', data => encode_json({published => $hub->stats->{published}, pid => $$})});
        $hub->serve(
            $connection,
            qw(notes figures),
            {after => $connection->last_event_id // $query->get('last_event_id')}
        );
    },
);

my %number;    # of the last event of each channel

sub publish {
    my ($channel, $data) = @_;
    return $hub->publish($channel, {json => {%$data, number => ++$number{$channel}, time => time}});
}

# What a page may ask for: something is done with the JSON that it sends, and it is told what came of that.
sub posted {
    my $action = shift;
    return sub {
        my $request = Plack::Request->new(shift);
        return refusal(405, 'POST only', Allow => 'POST') if $request->method ne 'POST';
        return refusal(403, 'Only from the page itself') if is_foreign($request);
        my $sent = eval { decode_json($request->raw_body) };
        return refusal(400, 'This is no JSON') if ref $sent ne 'HASH';
        my $answer = $action->($sent, $request) or return refusal(403, 'Not for everybody');
        my $bytes  = encode_json($answer);
        return [200, ['Content-Type' => 'application/json', 'Content-Length' => length $bytes], [$bytes]];
    };
}

# Browsers say which page a request comes from, and only ours may ask for something to be done.
sub is_foreign {
    my $request = shift;
    my ($origin, $host) = map { scalar $request->header($_) } qw(Origin Host);
    return defined $origin && $origin !~ m{\Ahttps?://\Q$host\E\z};
}

sub refusal {
    my ($status, $why, @headers) = @_;
    return [$status, ['Content-Type' => 'text/plain', @headers], ["$why\n"]];
}

# Somebody writes a note.
sub note {
    my $sent = shift;
    my ($from, $text) = map { substr $sent->{$_} // '', 0, 200 } qw(from text);
    return {id => publish('notes', {from => $from, text => $text})};
}

# A window asks to be dropped: it is told when to come back, and its stream ends.
sub drop {
    my $sent       = shift;
    my $connection = delete $windows{$sent->{name} // ''} or return {dropped => 0};
    my ($seconds)  = ($sent->{seconds} // 0) =~ /\A([0-9]{1,2})\z/;
    $connection->push({retry => 1000 * $seconds}) if $seconds;
    $connection->close;
    return {dropped => 1};
}

# The crowd comes by with what it has seen, and all are told that, and how the hub fares.
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
