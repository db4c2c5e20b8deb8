# An application of Dancer2 whose streams answer a POST, one that begins with the state, one that tabs share, and mistakes
# (t/frameworks/dancer2.t, heads.t, state.t).

package Unusual;
use Dancer2;
use EventSource::Framework::Dancer2;
use EventSource::Hub;
use Plack::Request;

my $hub = EventSource::Hub->new;

# Pushes the members of a JSON text that the client has posted.
sub echo {
    my ($conn, $env) = @_;
    my $posted = from_json(Plack::Request->new($env)->content);
    $conn->push("$_=$posted->{$_}") for sort keys %$posted;
    $conn->close;
    return;
}

any ['get', 'post', 'put', 'options'] => '/echo' => sub { event_source \&echo };
post '/only-get' => sub { event_source \&echo, methods => ['GET'] };
post '/events' => sub { events $hub, 'news', {start => 'oldest'} };
get '/state' => sub {
    $hub->publish(stock => {key => $_, data => $_, retain => 1}) for qw(bolt nut);
    events $hub, 'stock', {start => 'state'};
};
get '/both' => sub {
    $hub->publish(talk => $_) for qw(first last);
    events $hub, ['stock', {start => 'state'}], ['talk', {start => -1}];
};
get '/people/:id' => sub {
    my $member = {id => route_parameters->get('id'), channel => 'people', leave_after => 0};
    events $hub, 'people', {start => 'state', member => sub { return $member }};
};
any ['get', 'head', 'post', 'options'] => '/labelled' => sub {
    events $hub, 'news', {label => sub { 'user/7' }, origins => 'https://other.example'};
};
get '/no-hub'     => sub { events 'news' };
get '/no-channel' => sub { events $hub };
get '/no-handler' => sub { event_source 'news' };

Unusual->to_app;
