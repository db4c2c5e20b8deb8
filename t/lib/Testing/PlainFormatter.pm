package Testing::PlainFormatter;
use strict;
use warnings;

# The formatter in plain Perl, written without regard to speed. Tests compare the native formatter with it, bench/format
# measures against it.
#
#   is format_event(%field), plain_format_event(%field);

use Exporter qw(import);

our @EXPORT_OK = qw(plain_as_string plain_format_event plain_push);

# HTTP::ServerEvent->as_string: characters in, characters out.
sub plain_as_string {
    my ($class, %field) = @_;
    for my $name (qw(event id retry)) {
        die "Newline or null detected in event type '$field{$name}'. Possible event injection.\n"
            if defined $field{$name} && $field{$name} =~ /[\r\n\0]/;
    }
    my @lines = map { "$_: $field{$_}" } grep { defined $field{$_} } qw(event id retry);
    my @data  = ref $field{data} eq 'ARRAY' ? @{$field{data}} : $field{data};
    for my $text (grep { defined } @data) {
        push @lines, map { "data: $_" } split /\r\n|\r|\n/, $text;
    }
    return join("\r\n", @lines) . "\r\n\r\n";
}

# EventSource::XS::format_event without json and bytes: characters in, UTF-8 out.
sub plain_format_event {
    my %field = @_;
    my @lines;
    for my $name (qw(comment event id retry data)) {
        next if !defined $field{$name};
        my $prefix = $name eq 'comment' ? ': ' : "$name: ";
        for my $text (ref $field{$name} ? @{$field{$name}} : $field{$name}) {
            push @lines, map { "$prefix$_" } length $text ? split /\r\n|\r|\n/, $text, -1 : '';
        }
    }
    my $has_comments_alone = @lines && !grep { !/\A:/ } @lines;
    my $block = join '', map { "$_\n" } @lines, $has_comments_alone ? () : '';
    $block =~ s/[^\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]/\x{FFFD}/g;
    utf8::encode($block);
    return $block;
}

# What Plack::App::EventSource writes for the messages of one push, without line breaks in them: characters in, characters out.
sub plain_push {
    my @lines;
    for my $message (@_) {
        my $field = ref $message ? $message : {data => $message};
        push @lines, join "\r\n", map { "$_: $field->{$_}" } grep { defined $field->{$_} } qw(event id data retry);
    }
    return join '', map { "$_\r\n" } @lines, '';
}

1;
