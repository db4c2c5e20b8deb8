# Plack::App::EventSource keeps the basics of its contract behind nginx: configured as documented, and with the least
# configuration.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;
use Test::More;

for my $how ('documented', 'bare') {
    Testing::Contract->run_basics('Starman', nginx => $how);
    Testing::Contract->run_basics('Starman', nginx => $how, unix => 1);
    Testing::Contract->run_basics('Twiggy',  nginx => $how);
    Testing::Contract->run_basics('uWSGI',   nginx => $how);
}
Testing::Contract->run_basics('uWSGI, behind a proxy', nginx => 'uwsgi');
Testing::Contract->run_basics('FCGI', nginx => 'FastCGI', unix => 1);

done_testing;
