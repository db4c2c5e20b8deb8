# script/demo without a store, and its mistakes. xt has the stores.

use lib 't/lib';
use Testing       qw(Demo);
use Testing::Demo qw(demo demo_ok);
use Testing::Port;

subtest 'without a store' => sub { demo_ok('', gaps => 1) };

subtest 'mistakes' => sub {
    my $folder = new_folder;
    my $port   = Testing::Port->new;
    for my $case ([STORE => 'disk', qr/STORE must be file or redis, not 'disk'/], [CROWD => 'all', qr/CROWD must be/]) {
        my ($variable, $value, $said) = @$case;
        my $demo = demo($folder, $port, $variable => $value);
        ok wait_until($DEADLINE, sub { $demo->has_ended }), "$variable=$value: it ends";
        is $demo->stop, 256, 'with the exit code 1';
        like $demo->log, $said, 'it says why';
    }
    is_deeply [glob "$folder/*"], [], 'no file is left';
};

done_testing;
