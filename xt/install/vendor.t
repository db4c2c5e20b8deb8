# The tarball of script/vendor has all crates: cargo needs no network, and none that an earlier build has downloaded.
# xt/packages/debian.t builds it.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_command);
use Testing::SourceTree qw(slurp);

needs_command($_) for qw(cargo make tar gzip unshare);

# A shell in a network namespace of its own, which has no route to anywhere.
my @OFFLINE = ('unshare', '--map-root-user', '--net');
plan skip_all => 'this system gives a process no network namespace of its own' if system(@OFFLINE, 'true') != 0;

my $tree     = Testing::SourceTree->new;
my $manifest = slurp($tree->folder . '/Cargo.toml');
$tree->must($^X, 'script/vendor');
my ($tarball) = glob '"' . $tree->folder . '/EventSource-XS-*-vendored.tar.gz"';
ok $tarball, 'script/vendor writes a tarball' or BAIL_OUT('no tarball');
is slurp($tree->folder . '/Cargo.toml'), $manifest, 'the files of the checkout are unchanged';

my $unpacked    = $tree->unpacked($tarball, 'vendored');
my %environment = (CARGO_HOME => $tree->fresh('cargo_home'));
if (!$ENV{RUSTUP_HOME} && -d "$ENV{HOME}/.rustup") { $environment{RUSTUP_HOME} = "$ENV{HOME}/.rustup" }

my $without = Testing::SourceTree->new('without_vendor')
    ->run({%environment, CARGO_NET_RETRY => 0}, @OFFLINE, qw(cargo fetch --locked));
isnt $without->{status}, 0, 'without the vendored crates nothing can be built in this network namespace';

$unpacked->must(\%environment, @OFFLINE, qw(cargo fetch --locked --manifest-path), "$_/Cargo.toml")
    for qw(. hub_process);
pass 'with them cargo has all crates of both parts';

done_testing;
