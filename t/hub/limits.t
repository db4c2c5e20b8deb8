# One stream too many for the process: its client is sent away with 200, whatever its stream stands on.

use strict;
use warnings;

use lib 't/lib';
use Testing::Client;
use Testing::Developer qw(needs only_developers);
use EventSource::XS;
use Testing::Subscriber qw(blocks);
use Testing::HubServer  qw(path);
use Testing::Server;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }

only_developers();

for my $name ('HTTP::Server::PSGI', 'Starman', 'Twiggy', 'Feersum', 'uWSGI') {
    subtest $name => sub {
        needs(Testing::Server->missing($name));
        my $server = Testing::HubServer->start($name, settings => {max_streams => 1});
        my $holds  = $server->stream('/hub', channels => 'a');
        for my $path ('/hub', '/filtered') {
            my $more = Testing::Client->get($server->port, path($path, channels => 'a'));
            ok $more->read_all, "$path: one more ends";
            is $more->status, 200, 'after a response that a browser takes';
            is_deeply [map { join ',', keys %$_ } blocks($more->text)], ['retry'], 'with a time to come back';
            is $server->stats->{streams}, 1, 'and counts for nothing';
        }
        $server->publish(channel => 'a', from => 5);
        ok $holds->read_until(qr/^data: 5/m), 'the one that is there goes on';
        $holds->leave;
        $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} }, 'when it leaves');
        my $next = $server->stream('/filtered', channels => 'a');
        is $next->status, 200, 'there is room for the next';
        $next->leave;
        $server->stop;
    };
}

done_testing;
