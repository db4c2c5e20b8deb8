# Streams in an application of Dancer2: with a login, native, with resume and on_close; by POST; mistakes.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_module);
use Testing::Frameworks qw(mistakes_ok posts_ok streams_on);
use Testing::Server;

needs_module('Dancer2');

streams_on('dancer2.psgi', 'Starman', 'Twiggy');

for my $name ('Starman', 'Twiggy', 'uWSGI') {
    subtest "POST, $name" => sub {
        my $server = Testing::Server->start($name, 't/data/dancer2.psgi', workers => 1);
        posts_ok($server);
        $server->stop;
    };
}

subtest 'mistakes' => sub {
    my $server = Testing::Server->start('Starman', 't/data/dancer2.psgi', workers => 1);
    mistakes_ok($server, 'dancer2.psgi');
    $server->stop;
};

done_testing;
