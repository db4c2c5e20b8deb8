# The demonstration: every window receives what one window publishes, and a window that reconnects receives what it has
# missed. All windows show the same board, and who is here. script/demo starts it, with several workers and
# with LIVE_HUB: the socket of a named hub, in a folder that nothing else uses. Then the page has buttons that end a worker, all
# workers, or the hub process. With LIVE_FILE, a path, or LIVE_REDIS, a URL, the hub keeps its events there, so nothing is
# missed when its process is killed. With LIVE_COMPRESS=1 the windows' streams are compressed. Without LIVE_HUB the hub lives in
# the server's process, which has to be the only one:
#
#   plackup examples/live/app.psgi
#   plackup -s Starman --workers 1 --max-requests 1000000 examples/live/app.psgi
#
# The figures are published by the program `crowd` in this folder, which has to know the same LIVE_SECRET.

use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use Fcntl          qw(LOCK_EX SEEK_SET);
use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->catdir(dirname(__FILE__), 'lib');
use JSON::MaybeXS qw(decode_json encode_json);
use Live::Processes;
use Plack::App::EventSource;
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Time::HiRes qw(time);
use URI::Escape qw(uri_unescape);

my $PUBLIC = File::Spec->catdir(dirname(__FILE__), 'public');
my $SECRET = $ENV{LIVE_SECRET};
my $SOCKET = $ENV{LIVE_HUB};
my $STORE =
    $ENV{LIVE_FILE} ? {file => $ENV{LIVE_FILE}} : $ENV{LIVE_REDIS} ? {redis => $ENV{LIVE_REDIS}} : undef;

# The type of an event is its channel's name. A new window begins with the whole history.
my $hub = EventSource::Hub->new(
    compress     => $ENV{LIVE_COMPRESS} ? 1 : 0,
    keep_history => {events => 120},
    retry        => [1000, 2000],
    show_channel => 'event',
    start        => 'oldest',
    defined $SOCKET           ? (name  => 'live', socket => $SOCKET, idle_exit => 5, grace => 10) : (),
    defined $SOCKET && $STORE ? (store => $STORE)                                                 : (),
);

# The crowd's streams. Most applications need no more than this.
my $events = $hub->to_app(channels => sub { return qw(notes figures) });

# The windows' streams have the same channels, and begin with the state of two others: the board, and who is here. `here` comes
# first: events that were published until now are replayed; later ones are new. A label lets a window cut its stream.
my $window = Plack::App::EventSource->new(
    compress   => $ENV{LIVE_COMPRESS} ? 1 : 0,
    retry      => [1000, 2000],
    handler_cb => sub {
        my ($connection, $env) = @_;
        my %stats = %{$hub->stats};
        my %here  = (has_process => defined $SOCKET ? 1 : 0, pid => $$, published => $stats{published});
        my $here  = {%here, store => $STORE ? $stats{store}{kind} : undef, time => time};
        $connection->push({event => 'here', data => encode_json($here)});
        $hub->subscribe($connection, qw(notes figures));
        $hub->subscribe($connection, qw(board people), {start => 'state', whose(Plack::Request->new($env))});
    },
);

# Whose stream it is: a label and a member. A window chooses its id and its name here; where users log in, the application knows
# both. The name is in a header, because a window that reconnects may have another one.
sub whose {
    my $request = shift;
    my $id      = $request->query_parameters->get('window') // '';
    return if $id !~ /\A\w{1,40}\z/;
    my $name = name(decode('UTF-8', uri_unescape($request->header('X-Name') // '')));
    return (
        label => $id,
        $STORE ? () : (member => {id => $id, channel => 'people', leave_after => 2, json => {name => $name}})
    );
}

sub name {
    my $name = substr shift // '', 0, 20;
    return $name =~ /\S/ ? $name : 'Somebody';
}

# The events of each channel are numbered, so that the crowd can tell whether one is missing. A number counts when its event
# is published.
sub publish {
    my ($channel, $data) = @_;
    return in_turn(
        sub {
            my $last  = shift;
            my $event = {json => {%$data, number => 1 + ($last->{$channel} // 0), time => time}};
            my $once  = {once => "$channel $event->{json}{number}"};
            my $id    = eval { $hub->publish($channel, $event, $once) } // publish_again($@, $channel, $event, $once);
            $last->{$channel}++;
            return $id;
        }
    );
}

# Publishes an event again if the hub process has ended before it has answered, or its store begins. Its history has
# ended with it, or the store knows the key.
sub publish_again {
    my ($error, @event) = @_;
    die $error if !ref $error || $error->code !~ /\A(?:unavailable|unknown)\z/;
    return $hub->publish(@event);
}

my %last;    # the number of each channel's last event, if there is one process

# Calls the code with the numbers of the last events. Several processes share them in a file, and take turns: so the order
# of the numbers is that of the hub, and no process is killed in between.
sub in_turn {
    my $code = shift;
    return $code->(\%last) if !defined $SOCKET;
    open my $file, '+>>', "$SOCKET.numbers" or die "$SOCKET.numbers: $!\n";
    flock $file, LOCK_EX;
    seek $file, 0, SEEK_SET;
    my $last   = decode_json(readline($file) // '{}');
    my $result = $code->($last);
    truncate $file, 0;
    print {$file} encode_json($last);
    close $file or die "$SOCKET.numbers: $!\n";
    return $result;
}

# An application that passes the JSON of a POST to an action and answers with what the action returns: a hash, and perhaps
# what is to be done when the answer has been sent.
sub posted {
    my $action = shift;
    return sub {
        my $request = Plack::Request->new(shift);
        return refusal(405, 'POST only', Allow => 'POST') if $request->method ne 'POST';
        return refusal(403, 'Only from the page itself') if is_foreign($request);
        my $sent = eval { decode_json($request->raw_body) };
        return refusal(400, 'Not a JSON object') if ref $sent ne 'HASH';
        my ($answer, $afterwards) = $action->($sent, $request);
        return refusal(403, 'Forbidden') if !$answer;
        my $bytes    = encode_json($answer);
        my $response = [200, ['Content-Type' => 'application/json', 'Content-Length' => length $bytes], [$bytes]];
        return $response if !$afterwards;
        return sub { my $respond = shift; $respond->($response); $afterwards->(); return };
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

# Gives a window another name.
sub rename_window {
    my $sent = shift;
    my ($id, $name) = map { ref $_ ? undef : $_ } @$sent{qw(window as)};
    return {is_here => $STORE
            || !defined $id ? 0 : $hub->update_member(people => $id, {json => {name => name($name)}}) ? 1 : 0};
}

# Ends the stream of a window, which reconnects.
sub cut {
    my $id = shift->{window};
    return {ended => ref $id || ($id // '') !~ /\A\w{1,40}\z/ ? 0 : $hub->end(label => $id)};
}

# Paints a tile of the board for all windows, or cleans it.
sub paint {
    my $sent = shift;
    my ($tile, $from) = map { ref $_ ? undef : $_ } @$sent{qw(tile from)};
    return {}                                   if ($tile // '') !~ /\A[0-9]{1,2}\z/;
    return {id => $hub->forget(board => $tile)} if !defined $from;
    return {id => $hub->publish(board => {key => $tile, json => {tile => 0 + $tile, from => name($from)}, retain => 1})
    };
}

# What the buttons of a window do. Each returns what it does, the process to signal, and the signal.
my %ACT = (
    worker => sub {
        my ($env, $pid) = @_;
        my @workers  = map  { Live::Processes::workers($_) } grep { defined } Live::Processes::server($env);
        my ($worker) = sort { ($b eq $pid) <=> ($a eq $pid) } @workers;
        return ('kill -9 of worker', $worker, 'KILL');
    },
    deploy => sub {
        my $server = Live::Processes::server(shift);
        return ('deploy: HUP to', $server, 'HUP');
    },
    hub => sub {
        my ($hub) = Live::Processes::hub($SOCKET);
        return ('kill -9 of the hub process', $hub, 'KILL');
    },
);

# Signals a process of the demonstration, which may be this one, when all windows have been told.
sub act {
    my ($sent, $request) = @_;
    my $act = defined $SOCKET && $ACT{$sent->{what} // ''} or return;
    my ($what, $pid, $signal) = $act->($request->env, $sent->{pid} // '');
    return {} if !$pid;
    note({from => $sent->{from}, text => "$what $pid"});
    return (
        {pid => $pid},
        sub {
            in_turn(sub { return kill $signal => $pid });
        }
    );
}

# Publishes the statistics of the crowd and of the hub. Only the crowd knows the secret.
sub figures {
    my ($crowd, $request) = @_;
    my $secret = $request->header('X-Secret') // '';
    return if !defined $SECRET || $secret ne $SECRET;
    my %figures = (crowd => $crowd, hub => $hub->stats, pid => $$, processes => scalar processes($request->env));
    return {id => publish('figures', \%figures)};
}

# The ids of the processes, if the hub has one of its own.
sub processes {
    my $env = shift;
    return if !defined $SOCKET;
    my $server  = Live::Processes::server($env);
    my ($hub)   = map { 0 + $_ } Live::Processes::hub($SOCKET);
    my @workers = map { 0 + $_ } defined $server ? Live::Processes::workers($server) : ();
    return {hub => $hub, workers => \@workers};
}

builder {
    enable 'Static', path => qr{\A/(?:index|live|style|two)\.[a-z]+\z}, root => $PUBLIC;
    mount '/hub.js'  => EventSource::Hub->script_app;
    mount '/events'  => $events;
    mount '/window'  => $window->to_app;
    mount '/notes'   => posted(\&note);
    mount '/name'    => posted(\&rename_window);
    mount '/board'   => posted(\&paint);
    mount '/cut'     => posted(\&cut);
    mount '/act'     => posted(\&act);
    mount '/figures' => posted(\&figures);
    mount '/'        => Plack::App::File->new(file => "$PUBLIC/index.html")->to_app;
};
