# News for users who have logged in, with Dancer2. See README.md in this folder.
#
#   plackup -s Starman --workers 1 examples/frameworks/dancer2.psgi

package News;
use Dancer2;
use Digest::SHA qw(sha256_hex);
use EventSource::Framework::Dancer2;
use EventSource::Hub;

my %password = (anna => 'secret', bob => 'secret');
my $hub      = EventSource::Hub->new;
my %room;

# The streams of a session. What a label says does not log in.
sub label { return 'session/' . sha256_hex(session->id) }

post '/login' => sub {
    my ($user, $password) = map { body_parameters->get($_) // '' } qw(user password);
    send_error 'wrong password', 403 if $password ne ($password{$user} // "\0");
    my $before = label();
    session user => $user;
    app->change_session_id;                      # nobody knows the id from before the login
    $hub->end(label => $before, finish => 1);    # another user may be logged in here, with a stream in another tab
    return "hello $user";
};

# First the session goes, so that nobody comes back with it; then its streams end.
post '/logout' => sub {
    my $label = label();
    app->destroy_session;
    $hub->end(label => $label, finish => 1);
    return 'goodbye';
};

post '/news' => sub {
    send_error 'log in first', 403 if !session 'user';
    return $hub->publish(news => body_parameters->get('text'));
};

get '/events' => sub {
    send_error 'log in first', 403 if !session 'user';
    my $label = label();
    events $hub, 'news', {label => sub { $label }};
};

# The same events, and everybody sees who comes and goes.
get '/room' => sub {
    my $user = session('user') or send_error 'log in first', 403;
    event_source sub {
        my $conn = shift;
        $room{$conn} = $conn;
        $conn->on_close(sub { delete $room{$_[0]}; $hub->publish(news => "$user has left") });
        $hub->subscribe($conn, 'news');
        $hub->publish(news => "$user is here");
    };
};

News->to_app;
