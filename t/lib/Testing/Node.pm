package Testing::Node;
use strict;
use warnings;

# Packages from npm; the programs in t/node, with which tests compare; and those in t/script, which run
# share/eventsource-hub.js.
#
#   my $seen = parse_elsewhere("data: 1\n\n")->[0]{events};
#   needs(packages_missing('examples/cookbook'));
#   my @seen = run_script(fetch => {url => $server->url('/events')});

use Testing::Developer qw(has_command network_missing);
use Exporter           qw(import);
use Fcntl              qw(LOCK_EX);
use File::Temp         ();
use JSON::MaybeXS      qw(decode_json encode_json);
use MIME::Base64       qw(encode_base64);

our @EXPORT_OK = qw(install_options node_missing packages_missing parse_elsewhere run_script);

# A package.json has the versions of what the tests use. What that depends on has the newest versions of this day.
my $DAY = '2026-11-28';

# The command of npm, and its options, that installs the packages of a folder: those of its package-lock.json if it has one.
sub install_options {
    my $folder = shift;
    return -e "$folder/package-lock.json" ? 'ci' : (qw(install --no-package-lock --before), $DAY),
        qw(--no-audit --no-fund);
}

# Why node cannot be used here; undef if it can.
sub node_missing { return packages_missing('t/node') }

# Why the packages of a folder cannot be used here; undef if they can. Fetches them if that has not been done, so this is only
# for those who work on this project: an installation asks no one for anything.
sub packages_missing {
    my $folder = shift;
    for my $program (qw(node npm)) {
        return "$program is not installed" if !has_command($program);
    }
    open my $pins, '<', "$folder/package.json" or return "$folder/package.json: $!";
    flock $pins, LOCK_EX or die "$folder/package.json: $!\n";    # npm empties the folder, in which another test may be
    my $package  = decode_json(do { local $/; readline $pins });
    my @packages = map { keys %{$package->{$_} || {}} } qw(dependencies devDependencies);
    return undef if !grep { !-e "$folder/node_modules/$_/package.json" } @packages;
    if (my $trouble = network_missing()) { return "the packages of $folder are not installed, and $trouble" }
    my $said = qx{npm @{[install_options($folder)]} --prefix $folder 2>&1};
    return $? ? "npm cannot fetch the packages of $folder: $said" : undef;
}

# Returns the result of npm's eventsource-parser for each block: [{events, comments, retries, strange}, ...].
sub parse_elsewhere {
    return [_run_node('t/node/parse.js', map { encode_base64($_, '') } @_)];
}

# Runs a program of t/script, by its name, with eventsource-hub.js as pages load it. Returns its result for each value that it
# is given.
sub run_script {
    my ($program, @given) = @_;
    my ($script) = grep { -e } map { "$_/auto/share/dist/EventSource-XS/eventsource-hub.js" } grep { !ref } @INC;
    return _run_node("t/script/$program.mjs '$script'", map { encode_json([$_]) } @given);
}

# Returns what a program answers to lines, each a line of JSON.
sub _run_node {
    my ($program, @lines) = @_;
    my $input = File::Temp->new;
    print {$input} "$_\n" for @lines;
    close $input or die "$input: $!";
    open my $output, '-|', "node $program < $input" or die "node: $!";
    my @seen = map { decode_json($_) } <$output>;
    close $output   or die "node $program failed: $?";
    @seen == @lines or die "node $program answered " . @seen . ' times to ' . @lines . ' lines';
    return @seen;
}

1;
