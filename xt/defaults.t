# The defaults of a hub's settings stand in Perl, for hubs in a process, and in Rust, for what no worker of a named hub names.
# They are the same.

use lib 't/lib';
use Testing;
use EventSource::XS::Hub::ProcessSettings;
use EventSource::XS::Hub::Retention;
use EventSource::XS::Hub::Subscription;
use Testing::SourceTree qw(distribution_files slurp);

my %perl = (
    EventSource::XS::Hub::Retention->native,
    EventSource::XS::Hub::ProcessSettings->native(name => 'a', spawn => 0),
    max_topics => EventSource::XS::Hub::Subscription->max_topics,
);

# What the source says between a text and the end of the line.
my $rust = join '', map { slurp($_) } grep { m{\Asrc/.*/settings(?:/mod)?[.]rs\z} } distribution_files();

sub rust_after {
    my $text  = shift;
    my @found = $rust =~ /\Q$text\E(.*)/g;
    is scalar @found, 1, "the source has '$text' once";
    return $found[0] // '';
}

sub number {
    my $text = shift;
    return -1 if $text eq 'Duration::MAX';    # no bound
    $text =~ s/\ADuration::from_secs\((.*)\)\z/$1/;
    my ($base, $shift) = $text =~ /\A([0-9_]+)(?: << ([0-9]+))?\z/ or return "not understood: $text";
    return ($base =~ tr/_//dr) << ($shift // 0);
}

# The bounds of a hash in the source, by their names in Perl: those of total history are events_in_total and so on.
sub bounds {
    my ($text, $before, $after) = @_;
    my ($inside) = rust_after($text) =~ /\A(.*?) \}/;
    my %value = $inside =~ /(\w+): ([^,]+)/g;
    return map { $before . ($_ eq 'age' ? 'seconds' : $_) . $after => number($value{$_}) } keys %value;
}

my ($idle_exit, $grace) = rust_after('let (idle_exit, grace) = (') =~ /\A(.*), (.*)\);/;
my %rust = (
    bounds('let history = Bounds { ',       '',             ''),
    bounds('let total_history = Bounds { ', '',             '_in_total'),
    bounds(' state: StateBounds { ',        'state_',       ''),
    bounds('total_state: StateBounds { ',   'total_state_', ''),
    grace       => number($grace),
    idle_exit   => number($idle_exit),
    max_members => number(rust_after('max_members: 1')           =~ s/\A(.*),\z/1$1/r),
    max_topics  => number(rust_after('Self { hub, max_topics: ') =~ s/,.*//r),
);
cmp_ok scalar keys %rust, '>=', 14, 'the defaults in the source are found';
is $perl{$_}, $rust{$_}, "$_: Perl and Rust have the same default" for sort keys %rust;

my ($slow) = rust_after('on_slow: OnSlow::') =~ /\A(\w+)/;
is lc $slow, $perl{on_slow}, 'on_slow';

done_testing;
