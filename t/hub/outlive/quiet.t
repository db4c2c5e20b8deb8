# A site on which nobody calls the hub: the workers that follow others connect to the hub process by themselves, so that its
# streams stay open.

use lib 't/lib';
use Testing qw(Outlive=HTTP::Server::PSGI);
use EventSource::Hub::Process;

# How the workers of each server are replaced.
my @SERVERS = (
    ['Starman'                     => 'HUP'],
    ['Starman, without preloading' => 'HUP'],
    ['Starlet'                     => 'HUP'],
    ['uWSGI'                       => 'HUP'],
    ['uWSGI'                       => 'HUP', endless => ['--lazy-apps']],
    ['Feersum'                     => 'TERM'],
    (map { [$_ => 'TERM', single => 1] } 'HTTP::Server::PSGI', 'Twiggy', 'Feersum'),
);

# The processes that are connected to the hub process. To ask it keeps no stream.
sub connected {
    my $self = shift;
    return @{EventSource::Hub::Process->connect(name => 'test', socket => $self->{socket})->stats->{workers}};
}

sub check {
    my ($name, $signal, %option) = @_;
    my $self   = Testing::Outlive->start($name, %option, by_hand => 1);
    my $stream = $self->open('/hub');
    my %old    = map { $_ => 1 } connected($self);
    ok $old{$stream->{worker}}, 'the worker of a stream is connected';
    if ($signal eq 'HUP') { kill HUP => $self->{server}->pid }
    else                  { $self->{server}->restart($signal) }
    my @new;
    eventually_ok $DEADLINE, 'workers that nobody has asked for anything are connected' => sub {
        @new = connected($self);
        return @new && !grep { $old{$_} } @new;
    } or diag "@new";
    is scalar(grep { $_ == $self->{server}->pid } @new), 0, 'the master is not' if !$option{single} && $signal eq 'HUP';
    $self->start_publisher;
    ok $self->let_publish, 'events are published';
    $self->check_streams($signal);
    $self->end;
    return;
}

for my $server (grep { Testing::Server->tested($_->[0]) } @SERVERS) {
    my ($name, $signal, %option) = @$server;
    subtest join(' ', $name, $signal, @{$option{endless} || []}) => sub { check($name, $signal, %option) };
}

done_testing;
