package Testing::Node;
use strict;
use warnings;

# Packages from npm, in the versions of a package-lock.json, and the programs in t/node, with which tests compare.
#
#   my $seen = parse_elsewhere("data: 1\n\n")->[0]{events};
#   needs(packages_missing('examples/cookbook'));

use Testing::Developer qw(has_command);
use Exporter           qw(import);
use Fcntl              qw(LOCK_EX);
use File::Temp         ();
use JSON::MaybeXS      qw(decode_json);
use MIME::Base64       qw(encode_base64);

our @EXPORT_OK = qw(node_missing packages_missing parse_elsewhere);

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
    flock $pins, LOCK_EX or die "$folder/package.json: $!\n";  # npm ci empties the folder, in which another test may be
    my $package  = decode_json(do { local $/; readline $pins });
    my @packages = map { keys %{$package->{$_} || {}} } qw(dependencies devDependencies);
    return undef if !grep { !-e "$folder/node_modules/$_/package.json" } @packages;
    my $said = qx{npm ci --prefix $folder --no-audit --no-fund 2>&1};
    return $? ? "npm cannot fetch the packages of $folder: $said" : undef;
}

# Returns the result of npm's eventsource-parser for each block: [{events, comments, retries, strange}, ...].
sub parse_elsewhere {
    my @blocks = @_;
    my $input  = File::Temp->new;
    print {$input} encode_base64($_, ''), "\n" for @blocks;
    close $input or die "$input: $!";
    open my $parsed, '-|', "node t/node/parse.js < $input" or die "node: $!";
    my @seen = map { decode_json($_) } <$parsed>;
    close $parsed    or die "node t/node/parse.js failed: $?";
    @seen == @blocks or die 'node answered ' . @seen . ' times to ' . @blocks . ' blocks';
    return \@seen;
}

1;
