# Plack::App::EventSource keeps the basics of its contract behind nginx: as the documentation advises it, and as bare as it can
# be.

use strict;
use warnings;

use lib 't/lib';
use Contract;
use Developer qw(only_developers);
use Test::More;

only_developers();
for my $how ('documented', 'bare') {
    Contract->run_basics('Starman', nginx => $how);
    Contract->run_basics('Starman', nginx => $how, unix => 1);
    Contract->run_basics('Twiggy',  nginx => $how);
    Contract->run_basics('uWSGI',   nginx => $how);
}
Contract->run_basics('uWSGI, behind a proxy', nginx => 'uwsgi');
Contract->run_basics('FCGI', nginx => 'FastCGI', unix => 1);

done_testing;
