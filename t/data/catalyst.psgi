# A Catalyst application whose actions give a stream's response to Catalyst (t/servers/catalyst.t, t/frameworks/heads.t,
# state.t). The first event says whether the stream is native.

use strict;
use warnings;

use EventSource::Hub;
use Plack::App::EventSource;

package CatalystStreams {    ## no critic (Modules::ProhibitMultiplePackages)
    use Catalyst;
    __PACKAGE__->config(name => 'CatalystStreams', encoding => 'UTF-8');
    $INC{'CatalystStreams.pm'} = __FILE__;
}

my %held;

sub hold {
    my $conn = shift;
    $held{$conn} = $conn;
    $conn->on_close(sub { my $closed = shift; delete $held{$closed}; return });
    return;
}

sub foundation {
    my $conn = shift;
    $conn->push($conn->is_native ? 'native' : 'writer');
    return;
}

# A stream that ends with its handler, and one that later requests push to until its client leaves.
my %APP = (
    one => sub { my $conn = shift; foundation($conn); $conn->push("caf\x{e9} \x{263a}"); $conn->close; return },
    keep => sub { my $conn = shift; foundation($conn); hold($conn); return },
);
my %SOURCE = map { ($_ => Plack::App::EventSource->new(handler_cb => $APP{$_})->to_app) } keys %APP;
$SOURCE{writer} = Plack::App::EventSource->new(handler_cb => $APP{one},  native => 0)->to_app;
$SOURCE{kept}   = Plack::App::EventSource->new(handler_cb => $APP{keep}, native => 0)->to_app;

my $hub   = EventSource::Hub->new;
my $state = $hub->to_app(channels => sub { 'stock' }, start => 'state');
my $both  = $hub->to_app(channels => sub { (['stock', {start => 'state'}], ['talk', {start => -1}]) });
my $labelled =
    $hub->to_app(channels => sub { 'news' }, label => sub { 'user/7' }, origins => 'https://other.example');
my $people = $hub->to_app(
    channels => sub { 'people' },
    start    => 'state',
    member   => sub { return {id => $_[0]{'catalyst_streams.id'}, channel => 'people', leave_after => 0} },
);

package CatalystStreams::Controller::Root {    ## no critic (Modules::ProhibitMultiplePackages)
    use parent 'Catalyst::Controller';
    __PACKAGE__->config(namespace => '');
    $INC{'CatalystStreams/Controller/Root.pm'} = __FILE__;

    sub stream : Local : Args(1) {
        my ($self, $c, $name) = @_;
        $c->res->from_psgi_response($SOURCE{$name}->($c->req->env));
        return;
    }

    sub state : Local : Args(0) {
        my ($self, $c) = @_;
        $hub->publish(stock => {key => $_, data => $_, retain => 1}) for qw(bolt nut);
        $c->res->from_psgi_response($state->($c->req->env));
        return;
    }

    sub both : Local : Args(0) {
        my ($self, $c) = @_;
        $hub->publish(talk => $_) for qw(first last);
        $c->res->from_psgi_response($both->($c->req->env));
        return;
    }

    sub people : Local : Args(1) {
        my ($self, $c, $id) = @_;
        $c->res->from_psgi_response($people->({%{$c->req->env}, 'catalyst_streams.id' => $id}));
        return;
    }

    sub labelled : Local : Args(0) {
        my ($self, $c) = @_;
        $c->res->from_psgi_response($labelled->($c->req->env));
        return;
    }

    # An ordinary page, which pushes to each stream of this process that is held.
    sub tell : Local : Args(1) {
        my ($self, $c, $text) = @_;
        my $told = grep { $_->push($text) } values %held;
        $c->res->content_type('text/plain');
        $c->res->body("told $told of " . keys %held);
        return;
    }
}

CatalystStreams->setup;

# A plugin may wrap the method by which Catalyst's writer passes on bytes.
if ($ENV{CATALYST_WRAPPED}) {
    no warnings 'redefine';
    my $write = \&Catalyst::Response::Writer::write;
    *Catalyst::Response::Writer::write = sub { return $write->(@_) };
}

CatalystStreams->psgi_app;
