# An application of Mojolicious with unusual streams (t/frameworks/mojolicious_daemon.t, mojolicious_psgi.t, heads.t, state.t).

use EventSource::Hub;
use EventSource::XS;
use Mojo::IOLoop;
use Mojo::JSON qw(decode_json);
use Mojolicious::Lite;
use Plack::App::EventSource;
use Plack::Request;

plugin 'EventSource::Framework::Mojolicious';
app->secrets(['secret']);
app->hook(after_dispatch => sub { shift->res->headers->header('X-Hook' => 'ran') });

my $hub = EventSource::Hub->new;
my %held;

# Pushes and closes.
sub ends {
    my $conn = shift;
    $conn->push('one');
    $conn->push('two');
    $conn->close;
    return;
}

my $component = Plack::App::EventSource->new(handler_cb => \&ends, headers => ['X-Own' => 'component']);

get '/ends' => sub {
    my $c = shift;
    $c->session(visits => 1);
    $c->res->headers->header('X-Action' => 'set')->header('Content-Type' => 'text/plain');
    $c->event_source(\&ends);
};
get '/component' => sub { shift->event_source($component) };

# Responds when the action has returned.
get '/late' => sub {
    my $c = shift;
    $c->render_later;
    Mojo::IOLoop->timer(0 => sub { $c->event_source(\&ends) });
};

# Responds when it is asked to, perhaps after the client has left.
my %waiting;
get '/waits' => sub {
    my $c = shift->render_later;
    $waiting{$c->param('name')} = [$c, $c->param('keeps') ? $c->tx : ()];
};
get '/waiting' => sub {
    my $c       = shift;
    my $waiting = $waiting{$c->param('name')} or return $c->render(text => 'no');
    my $tx      = $waiting->[0]->tx;
    return $c->render(text => $tx && !$tx->is_finished ? 'yes' : 'left');
};
get '/respond' => sub {
    my $c       = shift;
    my $waiting = delete $waiting{$c->param('name')};
    return $c->render(text => eval { $waiting->[0]->event_source(\&ends); 1 } ? 'fine' : $@);
};

# A stream until its client leaves, and the reason of each end.
get '/held' => sub {
    my $c    = shift;
    my $name = $c->param('name');
    $c->event_source(
        sub {
            my $conn = shift;
            $held{$name} = {conn => $conn};
            $conn->on_close(sub { $held{$name} = {why => $_[1]} });
            $conn->push('held');
        }
    );
};
get '/push' => sub {
    my $c = shift;
    $c->render(text => $held{$c->param('name')}{conn}->push($c->param('data')) ? 1 : 0);
};
get '/why' => sub {
    my $c = shift;
    $c->render(text => $held{$c->param('name')}{why} // '');
};

# The process, its open streams, and the connections that the server has.
get '/stats' => sub {
    my $c = shift;
    $c->render(json => {pid => $$, open => EventSource::XS->stats->{open}});
};

# What the client has posted, as the handler finds it: the members of a JSON text, or the fields of a form.
my $echo = sub {
    my $c = shift;
    $c->event_source(
        sub {
            my ($conn, $env) = @_;
            my $request = Plack::Request->new($env);
            my $posted =
                ($request->content_type // '') =~ /json/ ? decode_json($request->content) : $request->parameters;
            $conn->push("$_=$posted->{$_}") for sort keys %$posted;
            $conn->close;
        }
    );
};
any '/echo' => $echo;
post '/only-get' => sub { shift->event_source(\&ends, methods => ['GET']) };
post '/events'   => sub { shift->events($hub, 'news', {start => 'oldest'}) };

get '/state' => sub {
    $hub->publish(stock => {key => $_, data => $_, retain => 1}) for qw(bolt nut);
    shift->events($hub, 'stock', {start => 'state'});
};
get '/both' => sub {
    $hub->publish(talk => $_) for qw(first last);
    shift->events($hub, ['stock', {start => 'state'}], ['talk', {start => -1}]);
};
get '/people/:id' => sub {
    my $c      = shift;
    my $member = {id => $c->param('id'), channel => 'people', leave_after => 0};
    $c->events($hub, 'people', {start => 'state', member => sub { return $member }});
};
any '/labelled' => sub {
    shift->events($hub, 'news', {label => sub { 'user/7' }, origins => 'https://other.example'});
};
get '/must-be-native' => sub { shift->event_source(\&ends, native => 1) };
get '/no-hub'         => sub { shift->events('news') };
get '/no-channel'     => sub { shift->events($hub) };
get '/no-handler'     => sub { shift->event_source('news') };
websocket '/websocket' => sub { shift->event_source(\&ends) };
get '/dies' => sub {
    shift->event_source(sub { $_[0]->push('before'); die "on purpose\n" });
};
get '/fails-after' => sub {
    shift->event_source(\&ends);
    die "on purpose\n";
};
get '/head'  => sub { shift->event_source(\&ends) };
get '/plain' => {text => 'plain'};

app->start;
