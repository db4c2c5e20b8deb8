# EventSource::Hub->end on six servers: streams end by their labels when every worker that has accepted them has gone, native
# ones and those on the server's writer, and clients are told whether to come back.

use lib 't/lib';
use Testing qw(Outlive=HTTP::Server::PSGI);
use Testing::Client;
use Testing::Process qw(none_runs);
use Testing::Server;

my $RETRY = qr/^retry: [0-9]+\r?\n(?:(?:data: \r?\n)?(?:id: .*\r?\n)?\r?\n)?/m;

for my $name (Testing::Server->names) {
    subtest $name => sub {
        my $is_single = $name =~ /PSGI|Twiggy|Feersum/;
        my $self      = Testing::Outlive->start($name, by_hand => 1, single => $is_single);
        my %stream    = map {
            my $path = $_;
            map { ("$path $_" => $self->open("$path?label=$_")) } qw(user/7 user/8)
        } qw(/hub /filtered);
        my $hub    = $self->hub;
        my $begins = sub {
            map { $stream{$_}{client} } sort grep { /$_[0]/ } keys %stream;
        };
        my @workers = map { $_->{worker} } values %stream;
        ok wait_until($DEADLINE, sub { $self->relays == 2 }), 'processes have taken streams on the writer over';
        $self->{server}->restart('KILL');
        ok wait_until($DEADLINE, sub { none_runs(@workers) }), 'the workers have gone';
        is $hub->end(label => 'user/7'), 2, 'the streams of a user end';
        $hub->publish(news => 'after');
        for my $client ($begins->('user/7')) {
            ok $client->read_all, 'a stream of his ends';
            like $client->text,   $RETRY,            'with a retry';
            unlike $client->text, qr/^data: after/m, 'before what is published then';
        }
        ok $_->read_until(qr/^data: after\r?\n/m), 'another one reads on' for $begins->('user/8');
        is $hub->end(topics => 'news', finish => 1), 2, 'the others end for good';
        for my $client ($begins->('user/8')) {
            ok $client->read_all, 'a stream ends';
            like $client->text, qr/^id: eventsource-finished\r?\n/m, 'with the id of finish';
        }
        my @headers = ('Last-Event-ID' => 'eventsource-finished');
        my $again   = Testing::Client->ask($self->{server}->port, '/hub', headers => \@headers);
        is $again->status, 204, 'a client that comes back all the same is sent away';
        $self->end;
    };
}

done_testing;
