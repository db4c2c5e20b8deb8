# Hubs whose streams begin in each channel as the channel says.
#
#   /HUB/NATIVE/stream                              a stream; HUB is local or named; NATIVE is native or writer
#   /HUB/NATIVE/member                              one with a label, a member and a limit of one stream
#   /HUB/publish?channel=a&data=x&key=k             publishes an event, retained if there is a key
#   /HUB/forget?channel=a&key=k                     forgets a key
#   /HUB/members?channel=a, /HUB/subscribers?channel=a, /HUB/end?label=a

use Testing::Application qw(answer answers);
use EventSource::Hub;
use Plack::Builder;

my $folder  = $ENV{HUB_FOLDER};
my %HISTORY = (room => {keep_history => {events => 4}}, noise => {keep_history => {events => 1}});
my %HUB     = (
    $ENV{HUB_LOCAL} ? (local => EventSource::Hub->new(per_channel => \%HISTORY)) : (),
    named => EventSource::Hub->new(
        per_channel => \%HISTORY,
        name        => 'shop',
        socket      => "$folder/shop",
        grace       => 1
    ),
);
my %NATIVE   = (native => 'auto', writer => 0);
my @CHANNELS = (['room', {start => -2}], 'plain', ['people', 'more/people', {start => 'state'}]);

my %ACCESS = (
    label           => sub { return 'reader' },
    max_streams_per => [sub { return $_[0]{REQUEST_URI} }, 1],
    member          => sub { return {channel => "here/$_[0]{REQUEST_URI}", id => 'ann', leave_after => 0} },
);

sub publish {
    my ($hub, %query) = @_;
    my %retained = defined $query{key} ? (key => $query{key}, retain => 1) : ();
    return $hub->publish($query{channel}, {data => $query{data}, %retained});
}

builder {
    for my $kind (keys %HUB) {
        my $hub = $HUB{$kind};
        for my $native (keys %NATIVE) {
            my @option = (channels => sub { return @CHANNELS }, native => $NATIVE{$native});
            mount "/$kind/$native/stream" => $hub->to_app(@option);
            mount "/$kind/$native/member" => $hub->to_app(@option, %ACCESS);
        }
        mount "/$kind/publish"     => answers(sub { publish($hub, @_) });
        mount "/$kind/forget"      => answers(sub { my %query = @_; $hub->forget(@query{qw(channel key)}) });
        mount "/$kind/subscribers" => answers(sub { my %query = @_; $hub->subscribers($query{channel}) });
        mount "/$kind/members"     => answers(sub { my %query = @_; $hub->members_count($query{channel}) });
        mount "/$kind/end"         => answers(sub { $hub->end(@_) });
    }
    mount '/' => sub { return answer('here') };
};
