# A logout with Plack::Middleware::Session: the session is removed first, then its streams end.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Encode      qw(decode);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;
use Plack::Session::State::Cookie;
use Plack::Session::Store::File;

# In place of your own users.
my %PASSWORD = map { ($_ => $ENV{"\U${_}_PASSWORD"} || die "${_}'s password is not set\n") } qw(ada carl);

# All workers share the folder. On https: and secure => 1.
my $store = Plack::Session::Store::File->new(dir => $ENV{SESSIONS} || die "SESSIONS is not set\n");
my $state = Plack::Session::State::Cookie->new(httponly => 1, samesite => 'Lax');
my $hub   = EventSource::Hub->new(name => 'sessions', socket => $ENV{SESSIONS_SOCKET});

sub label_of { my $env = shift; return 'session/' . sha256_hex($env->{'psgix.session.options'}{id}) }

# A logout may have come since the middleware has read the session, so it is read again. At the head of the stream the
# middleware would write it, which would undo that logout.
my $events = $hub->to_app(
    channels => sub {
        my $option = shift->{'psgix.session.options'};
        $option->{no_store} = 1;
        my $session = $store->fetch($option->{id}) || {};
        return [403, ['Content-Type' => 'text/plain'], ['Please log in']] if !defined $session->{user};
        return ('news', "user/$session->{user}");
    },
    label => \&label_of,
);

# Another user may be logged in here before a login, with a stream in another tab.
sub login {
    my $request = Plack::Request->new(shift);
    my ($user, $password) = @{$request->body_parameters}{qw(user password)};
    return [403, [], []] if !defined $user || !defined $password || ($PASSWORD{$user} // '') ne $password;
    $request->session->{user}              = $user;
    $request->session_options->{change_id} = 1;                         # nobody knows the id from before the login
    $request->env->{'news.ended'}          = label_of($request->env);
    return [204, [], []];
}

sub logout {
    my $env = shift;
    $env->{'psgix.session.options'}{expire} = 1;
    $env->{'news.ended'} = label_of($env);
    return [204, [], []];
}

sub publish {
    my $request = Plack::Request->new(shift);
    return [403, [], []] if !defined $request->session->{user};
    $hub->publish(news => decode('UTF-8', $request->body_parameters->{text} // ''));
    return [204, [], []];
}

my $app = builder {
    enable 'Session', store => $store, state => $state;
    my %post = (login => \&login, logout => \&logout, publish => \&publish);
    for my $name (keys %post) {
        mount "/$name" => sub { $_[0]{REQUEST_METHOD} eq 'POST' ? $post{$name}->(@_) : [405, [Allow => 'POST'], []] };
    }
    mount '/events' => $events;
};

# The middleware has removed the session when it returns: nobody comes back with it.
sub {
    my $env      = shift;
    my $response = $app->($env);
    $hub->end(label => $env->{'news.ended'}, finish => 1) if defined $env->{'news.ended'};
    return $response;
};
