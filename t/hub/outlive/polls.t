# Polls on six servers: they outlive the workers that have accepted them, native ones and those on the server's writer, and cost
# no worker while they wait. The next poll, at another worker, continues where one has ended.

use lib 't/lib';
use Testing qw(Outlive=HTTP::Server::PSGI);
use Testing::Client;
use Testing::Process qw(none_runs);
use Testing::Server;

sub last_id { return ($_[0]->text =~ /^id: (.*?)\r?$/mg)[-1] }

for my $name (Testing::Server->names) {
    subtest $name => sub {
        my $is_single = $name =~ /PSGI|Twiggy|Feersum/;
        my $self      = Testing::Outlive->start($name, by_hand => 1, single => $is_single);
        my $hub       = $self->hub;
        my $open      = sub {
            my ($path, $id) = @_;
            return $self->open($path, headers => [Prefer => 'wait=60', defined $id ? ('Last-Event-ID' => $id) : ()]);
        };
        my %id;
        for my $path (qw(/hub /filtered)) {
            my $first = $open->($path)->{client};
            ok $first->read_all, "$path: a new client is answered at once";
            $id{$path} = last_id($first);
        }
        my @polls = map { $open->($_, $id{$_}) } sort keys %id;
        ok wait_until($DEADLINE, sub { $hub->stats->{polls}{waiting} == 2 }), 'two polls wait';
        is(Testing::Client->ask($self->{server}->port, '/plain')->body, 'plain', 'the server answers meanwhile')
            for 1 .. 3;
        $self->{server}->restart('KILL');
        eventually_ok $DEADLINE, 'the workers have gone' => sub {
            none_runs(map { $_->{worker} } @polls);
        };
        my $event = $hub->publish(news => 'new');
        for my $poll (@polls) {
            my ($client, $path) = @$poll{qw(client path)};
            ok $client->read_all, "$path: the poll is answered all the same";
            ok $client->complete, 'its response is complete' if $client->header('Transfer-Encoding');
            like $client->text, qr/^data: new\r?\n/m, 'with the event';
            is last_id($client), $event, 'which is its last one';
            my $later = $hub->publish(news => 'later');
            my $next  = $open->($path, $event)->{client};
            ok $next->read_all, 'the next one is answered at once';
            is last_id($next), $later, 'with what was published in between';
        }
        ok wait_until($DEADLINE, sub { !$hub->stats->{polls}{waiting} }), 'none is left';
        $self->end;
    };
}

done_testing;
