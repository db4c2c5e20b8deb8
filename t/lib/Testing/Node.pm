package Testing::Node;
use strict;
use warnings;

# Runs the programs in t/node, with which tests compare: by node, with the packages of package-lock.json.
#
#   my $seen = parse_elsewhere("data: 1\n\n")->[0]{events};

use Testing::Developer qw(has_command);
use Exporter           qw(import);
use File::Temp         ();
use JSON::MaybeXS      qw(decode_json);
use MIME::Base64       qw(encode_base64);

our @EXPORT_OK = qw(node_missing parse_elsewhere);

my @PACKAGES = qw(event-source-polyfill eventsource-parser eventsource-polyfill);

# Why node cannot be used here; undef if it can. Fetches the packages if that has not been done, so this is only for
# those who work on this project: an installation asks no one for anything.
sub node_missing {
    for my $program (qw(node npm)) {
        return "$program is not installed" if !has_command($program);
    }
    return undef if @PACKAGES == grep { -e "t/node/node_modules/$_/package.json" } @PACKAGES;
    my $said = qx{npm ci --prefix t/node --no-audit --no-fund 2>&1};
    return $? ? "npm cannot fetch the packages of t/node: $said" : undef;
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
