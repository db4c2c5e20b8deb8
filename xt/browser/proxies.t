# Pages behind proxies that hinder streams, in Chromium and Firefox, plain and with TLS: each receives each event once and in
# order, and by the way that the proxy leaves to it. It prints how late; bench/proxies makes a table of that.

use lib 't/lib';
use Testing;
use Testing::Browser;
use Testing::Developer qw(needs);
use Testing::ThroughProxies;

my $SECONDS = 25;

# When a proxy cuts, or becomes silent: not before 10 s, which streams that last take.
my %SOON = ('cut after 30 s' => {seconds => 11}, 'silent after 30 s' => {seconds => 11});

my @names = Testing::NamedProxies->names;
needs(Testing::NamedProxies->missing($_)) for @names;
Testing::Browser->require_or_skip_all($_) for qw(Chromium Firefox);

my $through = Testing::ThroughProxies->start(names => \@names, more => \%SOON, stream => {keepalive => 2});
for my $browser (qw(Chromium Firefox)) {
    for my $scheme (qw(plain TLS)) {
        subtest "$browser, $scheme" => sub {
            received_ok($_) for $through->measure([[$browser, $scheme]], $SECONDS);
        };
    }
}

sub received_ok {
    my $row = shift;
    note $through->line($row);
    my ($name, $last) = @$row{qw(proxy end)};
    is_deeply [@$row{qw(last lost twice disordered)}], [$last, 0, 0, 0], "$name: each event once and in order"
        or diag $through->line($row);
    is_deeply $row->{gaps}, [], "$name: without a gap";
    is $row->{way}, Testing::NamedProxies->way($name), "$name: the way";
    return;
}

done_testing;
