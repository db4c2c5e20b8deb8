#!perl -T
# Taint mode: perl taints an id if its expression has a tainted value. The taint must not stay for the next call.

use lib 't/lib';
use Testing      qw(native);
use Scalar::Util qw(tainted);
use EventSource::Hub;

my $evil = substr "$0$^X", 0, 0;
plan skip_all => 'this perl does not taint' if !tainted($evil);

my $hub = EventSource::Hub->new;

# One call site each, whose target is used again: the taint of the first must not stay for the second.
my %way = (
    'data'       => sub { return $hub->publish(a        => $_[0]) },
    'a channel'  => sub { return $hub->publish("a$_[0]" => 'x') },
    'a field'    => sub { return $hub->publish(a        => {data => $_[0]}) },
    'a long one' => sub { return $hub->publish(a        => $_[0] . 'x' x 1_000) },
);
for my $name (sort keys %way) {
    my @tainted = map { tainted($way{$name}->($_)) ? 1 : 0 } "a$evil", 'a', "b$evil", 'b';
    is "@tainted", "1 0 1 0", "the id of $name is tainted only if the argument is";
}
my @tainted = map { tainted($hub->publish(a => {id => $_, data => 'x'})) ? 1 : 0 } "a$evil", 'a', "b$evil", 'b';
is "@tainted", '1 0 1 0', 'an id of the application is tainted only if the argument is';
ok !tainted($hub->epoch), 'the epoch is not tainted';
is $hub->stats->{published}, 20, 'all events were published';

done_testing;
