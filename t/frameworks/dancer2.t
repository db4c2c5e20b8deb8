# Streams in an application of Dancer2: with a login, native, with resume and on_close; by POST; mistakes.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer  qw(needs needs_module only_developers);
use Testing::Frameworks qw(get posts_ok streams_on);
use Testing::Server;
use Test::More;

only_developers();
needs_module('Dancer2');

streams_on('dancer2.psgi', 'Starman', 'Twiggy');

for my $name ('Starman', 'Twiggy', 'uWSGI') {
    subtest "POST, $name" => sub {
        needs(Testing::Server->missing($name));
        my $server = Testing::Server->start($name, 't/data/dancer2.psgi', Testing::Server->single_process($name));
        posts_ok($server);
        $server->stop;
    };
}

subtest 'mistakes' => sub {
    needs(Testing::Server->missing('Starman'));
    my $server  = Testing::Server->start('Starman', 't/data/dancer2.psgi', workers => 1);
    my %message = (
        '/no-hub'     => 'EventSource::Framework: events takes an EventSource::Hub, then channels at ',
        '/no-channel' => 'EventSource::Framework: events takes channels after the hub at ',
        '/no-handler' =>
            'EventSource::Framework: event_source takes a handler, a code reference, or an object with to_app at ',
    );
    for my $path (sort keys %message) {
        my $client = get($server, $path);
        ok $client->read_all && $client->complete, "$path is answered in full";
        is $client->status, 500, 'with 500';
        like $server->log, qr/\Q$message{$path}\E\S*dancer2[.]psgi line/, 'the log names the line of the application';
    }
    $server->stop;
};

done_testing;
