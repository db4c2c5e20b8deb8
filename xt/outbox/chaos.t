# Outboxes while everything around them is killed: each client receives what was committed, once, and for each key in the
# order of commits. script/soak outbox does so for longer.

use lib 't/lib';
use Testing qw(Server=Starman);
use Testing::Database;
use Testing::OutboxChaos;
use Testing::SideBySide qw(run_each);

my $TRANSACTIONS = 1_500;    # in all databases
my $CLIENTS      = 30;       # of all databases
my $SEED         = 1;

Testing->need('named_hubs');

my %class = map { ($_->name => $_) } Testing::Database->classes;

run_each [sort keys %class] => sub {
    my $class = $class{$_[0]};
    $class->require_or_skip_all;
    my $run = Testing::OutboxChaos->new(
        clients      => $CLIENTS / keys %class,
        database     => $class->start,
        seed         => $SEED,
        transactions => int $TRANSACTIONS / keys %class,
    );
    my @wrong = $run->wrong;
    is "@wrong", '', 'each client receives what was committed, once and in its order' or diag $run->log;
    note $_ for $run->figures;
};

done_testing;
